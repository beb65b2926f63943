"""A copy of the deployment's files, and fake programs on a PATH that holds nothing else."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DEPLOYED = ("run.sh", "scripts", "env.example", "docker-compose.yml", "pyproject.toml", "warmup")
TOOLS = (
    *(
        "bash",
        "cat",
        "chmod",
        "chown",
        "cksum",
        "cp",
        "cut",
        "dirname",
        "env",
        "grep",
        "head",
        "id",
    ),
    *("mkdir", "mv", "od", "rm", "sed", "sleep", "tail", "tr"),
)


@dataclass
class Host:
    """A machine as run.sh sees it: a checkout, a home, and the programs on PATH."""

    checkout: Path
    home: Path
    bin: Path
    calls_file: Path
    environ: dict[str, str] = field(default_factory=dict)

    def fake(self, name: str, body: str = "") -> None:
        """Put a program on PATH that records its call and then does BODY (bash)."""
        program = self.bin / name
        program.unlink(missing_ok=True)
        program.write_text(f'#!{shutil.which("bash")}\necho "{name} $*" >> "$CALLS"\n{body}\n')
        program.chmod(0o755)

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run run.sh with these arguments; stdout and stderr come together."""
        environ = {
            "PATH": str(self.bin),
            "HOME": str(self.home),
            "CALLS": str(self.calls_file),
            **self.environ,
        }
        return subprocess.run(
            [str(self.bin / "bash"), "run.sh", *arguments],
            cwd=self.checkout,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=50,
            check=False,
        )

    def calls(self) -> list[str]:
        """Return the recorded calls, in their order."""
        return self.calls_file.read_text().splitlines() if self.calls_file.exists() else []

    def env_file(self) -> dict[str, str]:
        """Return what stands in .env."""
        lines = (self.checkout / ".env").read_text().splitlines()
        return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


@pytest.fixture
def host(tmp_path: Path) -> Host:
    """A host with nothing but the usual tools."""
    made = Host(tmp_path / "checkout", tmp_path / "home", tmp_path / "bin", tmp_path / "calls")
    for folder in (made.checkout, made.home, made.bin):
        folder.mkdir()
    for name in DEPLOYED:
        source = ROOT / name
        copy = shutil.copytree if source.is_dir() else shutil.copy
        copy(source, made.checkout / name)
    for tool in TOOLS:
        found = shutil.which(tool)
        assert found, f"{tool} is not on this machine"
        (made.bin / tool).symlink_to(os.path.realpath(found))
    return made


@pytest.fixture
def gpu_host(host: Host) -> Host:
    """A host with an engine, its compose plug-in, a GPU and a gateway that is ready at once."""
    host.fake(
        "docker",
        'case "$*" in\n'
        '  info) echo " Runtimes: nvidia runc" ;;\n'
        '  *"ps --all --quiet"*) echo 4711 ;;\n'
        "  inspect*) echo running ;;\n"
        "esac",
    )
    host.fake("nvidia-smi", 'echo "NVIDIA L4, 580.95.05, 23034 MiB"')
    host.fake("curl", r"printf 'ready\n200'")
    return host
