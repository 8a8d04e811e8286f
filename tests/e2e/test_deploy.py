"""deploy/ without its programs: files that belong together do, and the image would hold all that the binary needs."""
import json
import os
import re
import shutil
import subprocess

import pytest
import yaml
from served import ROOT

DEPLOY = ROOT / "deploy"
DOCKERFILE = (DEPLOY / "Dockerfile").read_text()
# Of every Debian image, or brought by the packages that the Dockerfile names.
COMES_BY_ITSELF = {"libc6", "libstdc++6", "libgcc-s1", "libgomp1", "libgrpc29", "libabsl20220623"}


def test_the_dashboard_is_the_one_its_script_makes():
    made = subprocess.run(["python3", "-c", "import make_dashboard; print(make_dashboard.text(), end='')"], cwd=DEPLOY / "grafana",
                          capture_output=True, text=True, check=True, env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}).stdout
    assert (DEPLOY / "grafana/dashboards/rerankd.json").read_text() == made, "run: python3 deploy/grafana/make_dashboard.py"


def test_panels_do_not_overlap_and_have_names_of_their_own():
    panels = json.loads((DEPLOY / "grafana/dashboards/rerankd.json").read_text())["panels"]
    taken = set()
    for panel in panels:
        place = panel["gridPos"]
        cells = {(x, y) for x in range(place["x"], place["x"] + place["w"]) for y in range(place["y"], place["y"] + place["h"])}
        assert not cells & taken and place["x"] + place["w"] <= 24, panel["title"]
        taken |= cells
    for key in ("id", "title"):
        assert len({panel[key] for panel in panels}) == len(panels)


def test_dashboard_and_rules_use_documented_series_only():
    documented = set(re.findall(r"^\| `(rerankd_\w+)`", (ROOT / "docs/metrics.md").read_text(), re.M))
    text = "".join(path.read_text() for path in [*DEPLOY.glob("prometheus/rules/*.yml"), *DEPLOY.glob("grafana/dashboards/*.json")])
    used = {re.sub(r"_(bucket|sum|count)$", "", name) for name in re.findall(r"\brerankd_\w+", text)}
    assert used and used <= documented, used - documented


@pytest.mark.parametrize("name", ["compose.yaml", "compose.monitoring.yaml"])
def test_what_compose_files_mount_is_there(name):
    compose = yaml.safe_load((DEPLOY / name).read_text())
    mounts = [mount for service in compose["services"].values() for mount in service.get("volumes", [])]
    named = set(compose["volumes"])
    for mount in mounts:
        source = mount.split(":")[0]
        assert source in named or (DEPLOY / source).exists(), mount


def test_the_image_copies_what_exists_and_the_program_finds_it(rerankd, tmp_path):
    """The layout of the image in a folder: model, data and catalogue are found beside the program."""
    copies = re.findall(r"^COPY --from=build /src/(\S+) (/\S+)$", DOCKERFILE, re.M)
    assert len(copies) == 4
    for source, target in copies:
        source = rerankd if source.startswith("build/") else ROOT / source
        target = tmp_path / target.removeprefix("/")
        if os.path.isdir(source):
            shutil.copytree(source, target, dirs_exist_ok=True)
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, target)
    program = tmp_path / "usr/local/bin/rerankd"
    run = lambda *arguments: subprocess.run([program, *arguments], cwd=tmp_path, capture_output=True, text=True, check=True,
                                            env={"HOME": str(tmp_path)}).stdout  # fmt: skip
    assert "06a_concurrency" in run("experiment", "list")
    ranked = run("rank", "--model", "tiny", "--query", "what is tea", "--docs", str(ROOT / "README.md"), "--top-n", "1", "--json")
    assert len(json.loads(ranked)) == 1
    assert "bundled" in run("experiment", "show", "06a_concurrency")


def test_the_image_installs_the_libraries_that_the_binary_is_linked_with(rerankd):
    if shutil.which("dpkg-query") is None:
        pytest.skip("not a Debian system")
    dynamic = subprocess.run(["readelf", "-d", rerankd], capture_output=True, text=True, check=True).stdout
    needed = re.findall(r"\(NEEDED\).*\[(.+)\]", dynamic)
    runtime = DOCKERFILE.split("FROM debian:12-slim\n", 1)[1]
    for library in needed:
        if library.startswith("ld-linux"):
            continue
        found = subprocess.run(["dpkg-query", "-S", f"*/{library}"], capture_output=True, text=True, check=True).stdout
        packages = {line.split(":")[0] for line in found.splitlines() if "-cross" not in line}
        assert any(package in COMES_BY_ITSELF or re.search(rf"\s{re.escape(package)}\s", runtime) for package in packages), (
            f"{library} is of {packages}")
