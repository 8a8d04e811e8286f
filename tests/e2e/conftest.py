"""Fixtures of the end-to-end tests: the binary under test and the optional data."""
import os
import pathlib

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def rerankd():
    """Path of the binary: $RERANKD_BIN, else the release build."""
    binary = pathlib.Path(os.environ.get("RERANKD_BIN", ROOT / "build/release/apps/rerankd/rerankd"))
    if not binary.exists():
        pytest.fail(f"no rerankd binary at {binary}: run `make build` or set RERANKD_BIN")
    return str(binary)


@pytest.fixture(scope="session")
def shared_data():
    """Folder with the MS MARCO data, which users do not have: $RERANKD_TEST_DATA or ../shared/data."""
    data = pathlib.Path(os.environ.get("RERANKD_TEST_DATA", ROOT / "../shared/data")).resolve()
    if not data.exists():
        pytest.skip(f"no test data at {data} (RERANKD_TEST_DATA)")
    return data
