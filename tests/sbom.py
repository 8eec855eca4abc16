"""Prints the software bill of materials of the binary for a target, as CycloneDX 1.5: every crate that Cargo links into it.

    python3 tests/sbom.py x86_64-unknown-linux-gnu

Only what Cargo.lock says goes in, and nothing of the machine or the moment, so that the same sources give the same text.
"""

import json
import subprocess
import sys


def main(target):
    said = subprocess.run(
        ["cargo", "metadata", "--locked", "--format-version", "1", "--filter-platform", target],
        stdout=subprocess.PIPE, check=True,
    )
    metadata = json.loads(said.stdout)
    packages = {package["id"]: package for package in metadata["packages"]}
    edges = {node["id"]: linked(node) for node in metadata["resolve"]["nodes"]}
    root = metadata["resolve"]["root"]
    reached, left = set(), [root]
    while left:
        package = left.pop()
        if package not in reached:
            reached.add(package)
            left.extend(edges[package])
    names = sorted((packages[each]["name"], packages[each]["version"], each) for each in reached)
    bill = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {
            "component": {**component(packages[root]), "type": "application"},
            "properties": [{"name": "target", "value": target}],
        },
        "components": [component(packages[each]) for _, _, each in names if each != root],
        "dependencies": [
            {"ref": reference(packages[each]), "dependsOn": sorted(reference(packages[other]) for other in edges[each])}
            for _, _, each in names
        ],
    }
    print(json.dumps(bill, indent=1))


def linked(node):
    """The normal dependencies: not those of tests, nor those of build scripts, which only run while it is built."""
    return [each["pkg"] for each in node["deps"] if any(kind["kind"] is None for kind in each["dep_kinds"])]


def reference(package):
    return f"pkg:cargo/{package['name']}@{package['version']}"


def component(package):
    described = {
        "type": "library", "bom-ref": reference(package), "purl": reference(package),
        "name": package["name"], "version": package["version"],
    }
    if package["license"]:
        # Cargo once wrote `MIT/Apache-2.0`, which is no expression of SPDX.
        described["licenses"] = [{"expression": package["license"].replace("/", " OR ")}]
    return described


if __name__ == "__main__":
    main(*sys.argv[1:])
