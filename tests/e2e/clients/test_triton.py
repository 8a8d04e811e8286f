"""Triton's client library against the KServe routes, over gRPC and over HTTP (binary tensors)."""
import json

import numpy
import pytest
import tritonclient.grpc
import tritonclient.http
from texts import DOCUMENTS, QUERY


def clients():
    return pytest.mark.parametrize("module", [tritonclient.grpc, tritonclient.http], ids=["grpc", "http"])


@pytest.fixture
def connect(server, url):
    def open_client(module):
        address = server.grpc_address if module is tritonclient.grpc else url.removeprefix("http://")
        return module.InferenceServerClient(address)
    return open_client


def inputs(module):
    tensors = []
    for name, texts in [("query", [QUERY]), ("texts", DOCUMENTS)]:
        tensor = module.InferInput(name, [len(texts)], "BYTES")
        tensor.set_data_from_numpy(numpy.array([text.encode() for text in texts], dtype=numpy.object_))
        tensors.append(tensor)
    return tensors


@pytest.fixture(scope="session")
def model(server):
    """A name of the model that fits into a path, if it has one."""
    listed = json.loads(server.http("GET", "/v1/models")[2])["data"][0]
    return next(iter(listed.get("aliases", [])), listed["id"])


@clients()
def test_health(connect, module, model):
    client = connect(module)
    assert client.is_server_live() and client.is_server_ready() and client.is_model_ready(model)
    assert not client.is_model_ready("other")


@clients()
def test_infer_gives_logits_in_input_order(connect, module, model, logits):
    result = connect(module).infer(model, inputs(module), request_id="seven")
    assert result.as_numpy("scores").tolist() == pytest.approx(logits.scores, abs=1e-6)
    assert result.as_numpy("scores").dtype == numpy.float32
    assert result.as_numpy("tokens").tolist()[0] > 5
    assert result.as_numpy("truncated").tolist() == [False] * 5 + [True]


@clients()
def test_outputs_and_activation_are_chosen_by_the_client(connect, module, model, expected):
    outputs = [module.InferRequestedOutput("scores")]
    result = connect(module).infer(model, inputs(module), outputs=outputs, parameters={"activation": "sigmoid"})
    assert result.as_numpy("scores").tolist() == pytest.approx(expected.scores, abs=1e-6)
    assert result.as_numpy("tokens") is None


@clients()
def test_unknown_model_raises(connect, module):
    with pytest.raises(Exception, match="(?i)other"):
        connect(module).infer("other", inputs(module))


def test_metadata_over_grpc(connect, model):
    client = connect(tritonclient.grpc)
    assert client.get_server_metadata().name == "rerankd"
    metadata = client.get_model_metadata(model)
    assert [tensor.name for tensor in metadata.inputs] == ["query", "texts"]
    assert [(t.name, t.datatype) for t in metadata.outputs] == [("scores", "FP32"), ("tokens", "INT32"),
                                                                ("truncated", "BOOL")]


def test_metadata_over_http(connect, model):
    client = connect(tritonclient.http)
    assert client.get_server_metadata()["name"] == "rerankd"
    assert [tensor["name"] for tensor in client.get_model_metadata(model)["outputs"]] == ["scores", "tokens", "truncated"]
