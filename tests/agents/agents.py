"""The coding agents: where each is, what is pasted so that it talks to the gateway, and how it is run without a terminal.

What is pasted is what `llm-gateway connect` prints, as a user would. The rest is what a test needs and a user does not:
no questions asked, nothing sent home. What a reader would get wrong: an agent leaves children behind, so it gets a
process group of its own, all of which is killed at the end.
"""

import contextlib
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import types

from running import BINARY, ROOT

FOLDER = pathlib.Path(os.environ.get("LLM_GATEWAY_AGENTS", ROOT / "target/agents")).resolve()
KEY = "sk-for-agents"
# Seconds for a whole task.
PATIENCE = 60


class Scratch:
    """Where an agent runs: a `home` and a folder for its `work`, both its own, and what it finds in its environment."""

    def __init__(self, folder, url, model):
        self.home, self.work, self._url, self.model = folder / "home", folder / "work", url, model
        self.home.mkdir()
        self.work.mkdir(exist_ok=True)
        self.environment = {
            "HOME": str(self.home), "PATH": f"{pathlib.Path(shutil.which('node') or '/').parent}:{os.defpath}",
            "LANG": "C.UTF-8", "TERM": "dumb", "NO_COLOR": "1", "CI": "1", "DO_NOT_TRACK": "1", "DISABLE_TELEMETRY": "1",
        }

    def paste(self, client):
        """What `llm-gateway connect` prints for this client: its blocks. Exports are in the environment then."""
        said = subprocess.run(
            [BINARY, "connect", client, "--url", self._url, "--model", self.model, "--key", KEY],
            cwd=self.work, env={}, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True,
        ).stdout
        blocks = re.findall(r"^```(\w+)\n(.*?)^```", said, re.DOTALL | re.MULTILINE)
        for name, value in re.findall(r"^export (\w+)=(.*)$", said, re.MULTILINE):
            self.environment[name] = value
        return [text for language, text in blocks if language != "sh"]

    def write(self, path, text):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def run(self, command):
        """Runs a command to its end; returns its `status` and what it `said`, on both outputs."""
        child = subprocess.Popen(
            [str(word) for word in command], cwd=self.work, env=self.environment, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace", start_new_session=True,
        )
        try:
            out, errors = child.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            _kill(child)
            out, errors = child.communicate()
            raise AssertionError(f"not done after {PATIENCE} s: {out[-3000:]} {errors[-3000:]}") from None
        finally:
            _kill(child)
        return types.SimpleNamespace(status=child.returncode, out=out, errors=errors)


def _kill(child):
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)


def installed(name):
    """Whether `tests/run agents` could have this agent."""
    return (FOLDER / name / "installed").is_file()


def _bin(name, program=None):
    return FOLDER / name / "node_modules/.bin" / (program or name)


def claude(scratch, task):
    scratch.paste("claude-code")
    scratch.environment |= {"CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1", "DISABLE_AUTOUPDATER": "1"}
    return scratch.run([_bin("claude"), "-p", task, "--allowedTools", "Read", "Bash(cat:*)"])


def codex(scratch, task, *more):
    [config] = scratch.paste("codex")
    scratch.write(scratch.home / ".codex/config.toml", config + "\n[analytics]\nenabled = false\n")
    quiet = ["-c", "check_for_update_on_startup=false"]
    return scratch.run([
        _bin("codex"), "exec", "--skip-git-repo-check", "--dangerously-bypass-approvals-and-sandbox", *quiet, *more, "--", task,
    ])


def opencode(scratch, task):
    [config] = scratch.paste("opencode")
    scratch.write(scratch.work / "opencode.json", config)
    for what in ("AUTOUPDATE", "MODELS_FETCH", "LSP_DOWNLOAD", "DEFAULT_PLUGINS", "SHARE"):
        scratch.environment[f"OPENCODE_DISABLE_{what}"] = "1"
    return scratch.run([_bin("opencode"), "run", "--auto", task])


def qwen(scratch, task):
    scratch.paste("qwen-code")
    quiet = {"privacy": {"usageStatisticsEnabled": False}, "telemetry": {"enabled": False}, "general": {"disableAutoUpdate": True}}
    scratch.write(scratch.home / ".qwen/settings.json", json.dumps(quiet))
    return scratch.run([_bin("qwen"), "--yolo", task])


def gemini(scratch, task):
    [settings] = scratch.paste("gemini-cli")
    quiet = {
        "privacy": {"usageStatisticsEnabled": False}, "telemetry": {"enabled": False},
        "general": {"enableAutoUpdate": False, "enableAutoUpdateNotification": False},
    }
    scratch.write(scratch.home / ".gemini/settings.json", json.dumps(json.loads(settings) | quiet))
    scratch.environment |= {"GEMINI_CLI_TRUST_WORKSPACE": "true"}
    return scratch.run([_bin("gemini"), "--approval-mode", "yolo", "-p", task])


def continue_(scratch, task):
    [config] = scratch.paste("continue")
    scratch.write(scratch.home / ".continue/config.yaml", config)
    scratch.environment |= {"CONTINUE_TELEMETRY_ENABLED": "0", "CONTINUE_CLI_AUTO_UPDATED": "true"}
    return scratch.run([_bin("continue", "cn"), "-p", "--auto", task])


def aider(scratch, task):
    scratch.paste("aider")
    scratch.environment |= {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "AIDER_ANALYTICS_DISABLE": "true", "AIDER_CHECK_UPDATE": "false"}
    # Only files that are under version control are added when they are mentioned.
    author = ["-c", "user.name=tests", "-c", "user.email=tests@localhost"]
    for command in (["init", "--quiet"], ["add", "."], [*author, "commit", "--quiet", "--message", "files"]):
        assert scratch.run(["git", *command]).status == 0
    return scratch.run([
        FOLDER / "aider/venv/bin/aider", "--model", f"openai/{scratch.model}", "--yes-always", "--no-pretty", "--no-gitignore",
        "--no-show-model-warnings", "--no-show-release-notes", "--no-detect-urls", "--no-auto-commits", "--message", task,
    ])


FUNCTIONS = '''
def read_file(path: str) -> str:
    "Reads a file"
    return open(path).read()
'''


def llm(scratch, task):
    [models] = scratch.paste("llm")
    program = FOLDER / "llm/venv/bin/llm"
    logs = scratch.run([program, "logs", "path"])
    scratch.write(pathlib.Path(logs.out.strip()).parent / "extra-openai-models.yaml", models)
    assert scratch.run([program, "keys", "set", "gateway", "--value", KEY]).status == 0
    return scratch.run([program, "-m", "gateway", "--functions", FUNCTIONS, task])


# By the names of their folders.
AGENTS = {
    "claude": claude, "codex": codex, "opencode": opencode, "qwen": qwen, "continue": continue_, "aider": aider, "llm": llm,
    "gemini": gemini,
}
