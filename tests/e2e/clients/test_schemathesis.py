"""schemathesis: what /openapi.json promises, the server keeps, for generated requests."""
import pathlib
import subprocess
import sys

EXAMPLES = "15"  # a route


def test_the_server_keeps_its_openapi_promises(server, url, tmp_path):
    tool = pathlib.Path(sys.executable).parent / "schemathesis"
    run = subprocess.run([tool, "run", f"{url}/openapi.json", "--max-examples", EXAMPLES, "--seed", "1", "--checks",
                          "not_a_server_error,status_code_conformance,content_type_conformance,"
                          "response_schema_conformance", "--exclude-path", "/events"],
                         cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stdout[-6000:]
    assert server.http("GET", "/health")[0] == 200
