// Precompiled headers need a target that has a source (cmake/rerankd.cmake).
