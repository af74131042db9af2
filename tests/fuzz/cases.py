"""Which inputs a campaign tries: drawn from its seed and their number, the same on every machine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

from tests.fuzz import seeds
from tests.fuzz.mutators import mutate, mutate_text
from tests.fuzz.seeds import Seed

__all__ = ["FAMILIES", "Case", "Corpus"]

FAMILIES = ("clips", "pictures", "signed", "nets", "tables")
_WEIGHTS = (56, 18, 8, 8, 10)

# Most frames are of some thousand pixels; what says that it is large is tried at full size now and then.
_SMALL = ["--max-megapixels", "2"]

_CONTAINERS = ("mp4", "mov", "mkv", "avi", "ts", "webm")


@dataclass
class Case:
    """One input and what is done with it.

    Attributes:
        name: what it is made from, and how.
        input: name of the file that was changed.
        files: that are written, by their path from the folder of inputs.
        commands: of the program, run until one fails; ``{in}`` and ``{out}`` are folders.
        output: name of the output, if there is to be one.
        cut: this is the beginning of the file only, and its form is one that tells.
        whole: all frames of a clip were asked for, and not a part of them or those of a picture.
        frames: of the sound file.
    """

    name: str
    input: str
    files: dict[str, bytes]
    commands: list[list[str]]
    output: str | None = None
    cut: bool = False
    whole: bool = False
    frames: int = 1


class Corpus:
    """Sound files, made once in a folder, and the cases that are made from them."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        self.clips = seeds.clip_seeds(folder)
        self.pictures = seeds.picture_seeds(folder / "pictures")
        self.signed = seeds.signed_seeds(folder / "signed")
        self.tables = seeds.table_seeds(folder / "tables")
        self.large = seeds.large_clips(folder / "large")
        self.bombs = seeds.bombs()
        self.portrait = next(one.data for one in self.pictures if one.name == "b.jpg")
        self.face = next(one.data for one in self.clips if one.name == "face.mp4")

    def case(self, seed: int, number: int, family: str | None = None) -> Case:
        """The case of that number in the campaign of that seed.

        Args:
            seed: of the campaign.
            number: of the case.
            family: of `FAMILIES`; None: drawn.
        """
        rng = Random(f"{seed}:{number}")
        family = family or rng.choices(FAMILIES, _WEIGHTS)[0]
        made: Case = getattr(self, f"_{family}")(rng)
        made.name = f"{number} {made.name}"
        return made

    def fixed(self) -> list[Case]:
        """Inputs that are not drawn: bombs, as target, as source and for `inspect`."""
        found = []
        for one in (*self.bombs, *self.large):
            picture = one in self.bombs
            suffix = "png" if picture else one.name.rpartition(".")[2]
            found.append(self._swap(one, f"out.{suffix}", []))
            found.append(self._inspect(one))
            if picture:
                found.append(self._source(one))
        return found

    # -- what is done with a file --------------------------------------------------------------

    def _swap(self, one: Seed, output: str, options: Sequence[str]) -> Case:
        return Case(
            one.name, one.name, {one.name: one.data, "portrait.jpg": self.portrait},
            [["swap", "{in}/portrait.jpg", "{in}/" + one.name, "{out}/" + output, "--json", "-q",
              "--progress", "none", *options]],
            output=output, frames=one.frames,
            whole=one.frames > 1 and "--start" not in options and "--end" not in options,
        )  # fmt: skip

    def _source(self, one: Seed) -> Case:
        made = self._swap(Seed("target.jpg", self.portrait), "out.jpg", ["--no-credentials"])
        made.name, made.files["source"] = f"{one.name} as source", one.data
        made.commands[0][1] = "{in}/source"
        return made

    def _inspect(self, one: Seed) -> Case:
        return Case(f"{one.name} inspect", one.name, {one.name: one.data}, [["inspect", "{in}/" + one.name, "--json"]])  # fmt: skip

    # -- families ------------------------------------------------------------------------------

    def _mutated(self, rng: Random, one: Seed) -> tuple[str, Seed]:
        how, data = mutate(rng, one.data)
        return f"{one.name} {how}", Seed(one.name, data, one.frames)

    def _clips(self, rng: Random) -> Case:
        one = rng.choice(self.clips if rng.random() < 0.95 else self.large)
        name, changed = self._mutated(rng, one)
        if rng.random() < 0.2:
            made = self._inspect(changed)
        elif rng.random() < 0.05:
            made = self._source(changed)
        else:
            suffix = one.name.rpartition(".")[2]
            if rng.random() < 0.2:
                suffix = rng.choice(_CONTAINERS)
            options = [] if rng.random() < 0.3 else ["--no-credentials"]
            options += [] if rng.random() < 0.05 else _SMALL
            if rng.random() < 0.12:
                options += rng.choice(
                    (["--start", "0.08"], ["--end", "4f"], ["--start", "2f", "--end", "0.2"])
                )
            made = self._swap(changed, f"out.{suffix}", options)
            # a transport stream has neither length nor end
            cut = name.split()[1] in ("cut_at_piece", "cut_anywhere")
            made.cut = cut and not one.name.endswith(".ts")
        made.name = f"{name} ({made.commands[0][0]})"
        return made

    def _pictures(self, rng: Random) -> Case:
        one = rng.choice(self.pictures if rng.random() < 0.97 else self.bombs)
        name, changed = self._mutated(rng, one)
        draw = rng.random()
        if draw < 0.2:
            made = self._inspect(changed)
        elif draw < 0.5:
            made = self._source(changed)
        else:
            suffix = rng.choice(("png", "jpg", "webp", "tiff", "bmp"))
            options = [] if rng.random() < 0.3 else ["--no-credentials"]
            made = self._swap(changed, f"out.{suffix}", options)
        made.name = f"{name} ({made.commands[0][0]})"
        return made

    def _signed(self, rng: Random) -> Case:
        one = rng.choice(self.signed)
        name, changed = self._mutated(rng, one)
        if one.name.endswith(".c2pa"):
            whole = next(other for other in self.signed if other.name == "beside.mkv")
            made = self._inspect(whole)
            made.files[changed.name] = changed.data
        elif rng.random() < 0.5:
            made = self._inspect(changed)
        else:
            made = self._swap(changed, f"out.{one.name.rpartition('.')[2]}", [])
        made.name = f"{name} ({made.commands[0][0]})"
        return made

    def _nets(self, rng: Random) -> Case:
        name, changed = self._mutated(rng, self.tables["net"])
        files = {"toy.onnx": changed.data, "catalog.toml": self.tables["catalogue"].data}
        made = Case(name, "toy.onnx", files, [["models", "add", "toy", "{in}/toy.onnx"]])
        draw = rng.random()
        if draw < 0.7:
            files |= {"portrait.jpg": self.portrait, "face.mp4": self.face}
            made.commands.append(
                ["swap", "{in}/portrait.jpg", "{in}/face.mp4", "{out}/out.mp4", "--json", "-q",
                 "--progress", "none", "--no-credentials", "--restore", "toy"]
            )  # fmt: skip
            made.output, made.input, made.frames = "out.mp4", "face.mp4", seeds.FRAMES
        elif draw < 0.85:
            made.commands.append(["models", "verify", "toy"])
        return made

    def _tables(self, rng: Random) -> Case:
        kind = rng.choice(("catalogue", "pin", "recipe", "samples", "manifest", "plan"))
        one = self.tables[kind]
        if kind in ("samples", "plan"):
            how, data = mutate(rng, one.data)
        else:
            how, data = mutate_text(rng, one.data.decode())
        name = f"{kind} {how}"
        if kind == "catalogue":
            files = {"catalog.toml": data, "toy.onnx": self.tables["net"].data}
            return Case(name, "catalog.toml", files, [["models", "list"], ["models", "add", "toy", "{in}/toy.onnx"], ["models", "remove", "toy"]])  # fmt: skip
        if kind == "pin":
            files = {
                "catalog.toml": self.tables["catalogue"].data, "toy.onnx": self.tables["net"].data,
                "../store/toy.json": data, "../store/toy.onnx": self.tables["net"].data,
            }  # fmt: skip
            commands = [
                ["models", "list"],
                ["models", rng.choice(("verify", "info", "add", "remove")), "toy"],
            ]
            if commands[1][1] == "add":
                commands[1].append("{in}/toy.onnx")
            return Case(name, "../store/toy.json", files, commands)
        if kind in ("recipe", "samples"):
            files = {
                "set.toml": self.tables["recipe"].data, "samples.npz": self.tables["samples"].data,
                "toy.onnx": self.tables["net"].data, one.name: data,
            }  # fmt: skip
            return Case(name, one.name, files, [["build-engine", "--recipe", "{in}/set.toml", "--engine-dir", "{out}/engines", "--progress", "none"]])  # fmt: skip
        files = {
            f"../engines/{self.tables[one].name}": data if one == kind else self.tables[one].data
            for one in ("manifest", "plan")
        }
        command = rng.choice((["list"], ["verify"], ["prune"]))
        return Case(name, f"../engines/{one.name}", files, [["engines", *command, "--engine-dir", "{in}/../engines"]])  # fmt: skip
