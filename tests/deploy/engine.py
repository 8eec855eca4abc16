"""A Docker engine of the test's own, and bases for images that stand in for those that a registry would give.

The engine has a network namespace to itself, with loopback alone: nothing it publishes can be seen outside of it, no rule
of the machine's firewall changes, and nothing can be pulled. A stand-in is what its name says as far as these tests look:
the programs of this machine with the libraries that they need, under the name, user and paths of the real image.
"""

import io
import os
import pathlib
import re
import shutil
import signal
import subprocess
import tarfile
import tempfile

from running import BINARY, PATIENCE

# Starting an engine, or some containers at once, on a machine that is busy with other tests.
LONG = 4 * PATIENCE

CARGO = """#!/bin/sh
# The compiler's part: a `dist` build takes longer than all tests here.
mkdir -p target/dist && cp /llm-gateway target/dist/llm-gateway
"""
OLLAMA = """#!/bin/sh
case $1 in
  serve) exec /llm-gateway sim --listen 0.0.0.0:11434 --slots "$OLLAMA_NUM_PARALLEL" --load-ms 0 --first-token-ms 1 ;;
  list) exec wget -q -O - http://127.0.0.1:11434/api/tags ;;
esac
"""
GRAFANA = """#!/bin/sh
# What Grafana does before it serves: it reads its password and what is provisioned.
set -e
test -s "$GF_SECURITY_ADMIN_PASSWORD__FILE"
cat "$GF_SECURITY_ADMIN_PASSWORD__FILE" /etc/grafana/provisioning/*/* "$GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH" >/dev/null
exec httpd -f -p 3000 -h /etc/grafana/dashboards
"""


class Engine:
    """A running engine. Leaving the `with` block ends it with all its containers."""

    def __init__(self, compose):
        # Not below pytest's folder: a socket's path has 107 characters at most.
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="engine-"))
        plugins = self.folder / "client/cli-plugins"
        plugins.mkdir(parents=True)
        (plugins / "docker-compose").symlink_to(compose)
        self.environment = {
            "PATH": os.environ["PATH"], "HOME": str(self.folder), "DOCKER_CONFIG": str(self.folder / "client"),
            "DOCKER_HOST": f"unix://{self.folder}/socket", "DOCKER_BUILDKIT": "0",
        }

    def __enter__(self):
        start = (
            'ip link set lo up && exec dockerd --host "unix://$0/socket" --data-root "$0/data" --exec-root "$0/exec"'
            ' --pidfile "$0/pid" --log-level warn'
        )
        self._log = (self.folder / "log").open("w")
        # A mount namespace too: whatever it mounts is gone with its last process.
        self._child = subprocess.Popen(
            ["unshare", "--net", "--mount", "sh", "-c", start, str(self.folder)],
            stdin=subprocess.DEVNULL, stdout=self._log, stderr=self._log,
        )
        # The client waits while nobody answers; the engine says on its pipe when it is ready only to systemd.
        run(["timeout", str(LONG), "sh", "-c", f"until docker version >/dev/null 2>&1; do kill -0 {self._child.pid}; sleep 0.2; done"],
            self.environment)
        return self

    def __exit__(self, *_):
        self._child.send_signal(signal.SIGTERM)
        self._child.wait(LONG)
        self._log.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def docker(self, *arguments, **more):
        """Runs a command of the client, and returns what it said on both outputs."""
        return run(["docker", *arguments], self.environment, **more)

    def curl(self, *arguments):
        """Asks from the machine, as far as containers can tell: beside the engine, and not within a container."""
        return run(
            ["nsenter", "--net", f"--target={self._child.pid}", "curl", "--silent", "--show-error", "--max-time", str(PATIENCE), *arguments],
            self.environment,
        )

    def stand_in(self, name, files, programs=(), tools=False, changes=(), owned=()):
        """Imports an image: these scripts and programs by path, with the programs' libraries."""
        made = io.BytesIO()
        with tarfile.open(fileobj=made, mode="w") as image:
            seen = set()
            for path, text in files.items():
                add(image, path, text.encode())
            for path, program in dict(programs).items():
                add(image, path, pathlib.Path(program).resolve().read_bytes())
                for library in libraries(program) - seen:
                    seen.add(library)
                    add(image, library, pathlib.Path(library).resolve().read_bytes())
            if tools:
                busybox = shutil.which("busybox")
                add(image, "/bin/busybox", pathlib.Path(busybox).read_bytes())
                for tool in run([busybox, "--list"], self.environment).split():
                    if tool != "busybox":
                        link = tarfile.TarInfo(f"bin/{tool}")
                        link.type, link.linkname = tarfile.SYMTYPE, "/bin/busybox"
                        image.addfile(link)
            for path, user, mode in [*owned, ("/tmp", 0, 0o1777)]:
                folder = tarfile.TarInfo(path.lstrip("/"))
                folder.type, folder.uid, folder.gid, folder.mode = tarfile.DIRTYPE, user, user, mode
                image.addfile(folder)
        changes = [part for change in changes for part in ("--change", change)]
        self.docker("import", *changes, "-", name, input=made.getvalue(), text=False)

    def stand_ins(self):
        """All bases that the Dockerfile and compose.yaml name."""
        gateway = {"/llm-gateway": BINARY}
        self.stand_in("rust:1.95-slim-bookworm", {"/usr/bin/cargo": CARGO}, gateway, tools=True)
        # Only the libraries: like the real one it has no shell. The binary itself comes from the build.
        self.stand_in("gcr.io/distroless/cc-debian12:nonroot", {}, gateway, owned=[("/etc", 0, 0o755)])
        serve = ['ENTRYPOINT ["/usr/bin/ollama"]', 'CMD ["serve"]']
        self.stand_in("ollama/ollama:latest", {"/usr/bin/ollama": OLLAMA}, gateway, tools=True, changes=serve)
        redis = {f"/usr/local/bin/{name}": shutil.which(name) for name in ["redis-server", "redis-cli"]}
        self.stand_in("redis:7.4-alpine", {}, redis, tools=True, changes=["WORKDIR /data"])
        self.stand_in(
            "prom/prometheus:v3.5.0", {}, {"/bin/prometheus": shutil.which("prometheus")}, tools=True,
            owned=[("/prometheus", 65534, 0o755)], changes=['ENTRYPOINT ["/bin/prometheus"]', "USER 65534"],
        )
        self.stand_in(
            "grafana/grafana-oss:12.1.0", {"/run.sh": GRAFANA}, tools=True,
            owned=[("/var/lib/grafana", 472, 0o755)], changes=['ENTRYPOINT ["/run.sh"]', "USER 472"],
        )


def run(command, environment, text=True, **more):
    done = subprocess.run(
        command, env=environment, text=text, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=LONG, check=False, **more
    )
    assert done.returncode == 0, (command, done.stdout)
    return done.stdout


def libraries(program):
    """The shared libraries of a program and its loader, as paths; none of a static one."""
    said = subprocess.run(["ldd", program], text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False).stdout
    return set(re.findall(r"(/\S+) \(0x", said))


def add(image, path, content):
    file = tarfile.TarInfo(path.lstrip("/"))
    file.size, file.mode = len(content), 0o755
    image.addfile(file, io.BytesIO(content))
