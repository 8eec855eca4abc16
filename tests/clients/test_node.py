"""The clients for Node, each file of tests/clients/node in a run of its own against the same gateway."""

import os
import pathlib
import re
import shutil
import subprocess

import pytest

from running import PATIENCE, ROOT

SOURCES = pathlib.Path(__file__).parent / "node"
# Node looks for packages beside the importing file and upwards, so the tests run from a copy beside them.
FOLDER = pathlib.Path(os.environ.get("LLM_GATEWAY_NODE", ROOT / "target/clients/node")).resolve()


@pytest.fixture(scope="module")
def folder():
    """The folder of the installed packages, with our files in it as they are now."""
    assert (FOLDER / "node_modules").is_dir(), f"no packages in {FOLDER}: tests/run clients installs them"
    for source in SOURCES.glob("*.js"):
        shutil.copy(source, FOLDER)
    return FOLDER


@pytest.mark.parametrize("name", sorted(file.name for file in SOURCES.glob("*.test.js")))
def test_the_clients_for_node_are_content(gateway, folder, name):
    variables = {"PATH": os.environ["PATH"], "GATEWAY_URL": gateway.url, "GATEWAY_KEY": gateway.key}
    ran = subprocess.run(
        ["node", "--test", "--test-reporter=spec", name], cwd=folder, env=variables, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=2 * PATIENCE, check=False,
    )
    assert ran.returncode == 0 and re.search(r"pass [1-9]", ran.stdout), ran.stdout
