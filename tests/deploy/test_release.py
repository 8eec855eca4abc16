"""What a release has: `tests/release` on the binary that is built already, so that nothing is compiled here."""

import hashlib
import json
import os
import subprocess
import tarfile

import pytest
from running import BINARY, ROOT


@pytest.fixture(scope="module")
def archives():
    said = subprocess.run(["rustc", "-vV"], text=True, stdout=subprocess.PIPE, check=True).stdout
    (target,) = [line.removeprefix("host: ") for line in said.splitlines() if line.startswith("host: ")]
    environment = os.environ | {"CARGO_TARGET_DIR": str(BINARY.parents[1])}
    # The second target is one that nobody can build for here.
    command = [ROOT / "tests/release", "--profile", "dev", target, "m68k-unknown-linux-gnu"]
    done = subprocess.run(command, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
    assert done.returncode == 0, done.stderr
    assert "m68k-unknown-linux-gnu: skipped, " in done.stdout
    return target, BINARY.parents[1] / "release-archives"


def test_a_release_has_an_archive_a_bill_of_materials_and_checksums(archives):
    target, folder = archives
    (archive,), (bill,) = folder.glob("*.tar.gz"), folder.glob("*.cdx.json")
    for line in (folder / "SHA256SUMS").read_text().splitlines():
        digest, name = line.split()
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest
    assert len((folder / "SHA256SUMS").read_text().splitlines()) == 2
    top = archive.name.removesuffix(".tar.gz")
    assert top.endswith(target)
    with tarfile.open(archive) as packed:
        names = set(packed.getnames())
        wanted = ["llm-gateway", "LICENSE-MIT", "README.md", "config/gateway.toml", "config/systemd/llm-gateway.service", bill.name]
        assert {f"{top}/{name}" for name in wanted} <= names
        assert {(one.uid, one.gid) for one in packed} == {(0, 0)}
        assert packed.extractfile(f"{top}/llm-gateway").read() == BINARY.read_bytes()


def test_the_bill_of_materials_names_what_is_linked_and_nothing_else(archives):
    (file,) = archives[1].glob("*.cdx.json")
    bill = json.loads(file.read_text())
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.5")
    names = {one["name"] for one in bill["components"]}
    assert {"actix-web", "ring", "mimalloc", "rustls"} <= names
    # Of tests, of other systems, of build scripts.
    assert not names & {"proptest", "windows-sys", "cc"}, names
    assert all(one["purl"] == f"pkg:cargo/{one['name']}@{one['version']}" for one in bill["components"])
    assert all(one.get("licenses") for one in bill["components"])
    references = {one["bom-ref"] for one in [bill["metadata"]["component"], *bill["components"]]}
    assert {one["ref"] for one in bill["dependencies"]} == references
