"""schemathesis: what /openapi.json promises, the server keeps, for generated requests."""
import pathlib
import subprocess
import sys

EXAMPLES = "15"  # a route

# Not `not_a_server_error`: 504 is the right answer to x-request-timeout-ms: 1. 500 is documented nowhere, so
# status_code_conformance finds it.


def test_the_server_keeps_its_openapi_promises(server, url, tmp_path):
    tool = pathlib.Path(sys.executable).parent / "schemathesis"
    run = subprocess.run([tool, "run", f"{url}/openapi.json", "--max-examples", EXAMPLES, "--seed", "1", "--checks",
                          "status_code_conformance,content_type_conformance,response_schema_conformance", "--exclude-path", "/events"],
                         cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stdout[-6000:]
    assert server.http("GET", "/health")[0] == 200
