"""What every client sends: texts that a model tells apart, one empty, one that is cut."""
QUERY = "what is tea"
DOCUMENTS = ["The moon orbits the earth.", "Tea is a drink made from the leaves of a shrub.", "", "Green tea and black tea.",
             "Ein Fluß kühlt das Kraftwerk — naïve 茶", "word " * 3000]
