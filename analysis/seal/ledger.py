"""The ledgers of test sets: every opening of a test set, by its images, for whatever sweep.

<parent of the sweeps>/.toprung-openings/    next to the sweeps in a folder, or in a store
<state folder>/openings/                     the user's own ledger

    <id>.json           an opening, as in the sweep (`toprung.analysis.seal.intent`)
    <images>.images     the images of a test set, once: 8 bytes of each image's hash, 800 kB for
                        100,000 images (`toprung.trainables.provenance.image_set`)

Files are only added, each under a name of its own, atomically: several processes and machines can
write concurrently, and an object store needs no operation but PUT. A ledger in an untrusted folder
is read with limits on size and with checked types; it can add openings, but cannot remove any.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from toprung.analysis.provenance.splits_file import split_images
from toprung.analysis.seal.intent import Intent, intents_of, read_intents
from toprung.analysis.seal.small_files import SmallFiles
from toprung.analysis.sweep_folder.folder import SweepFolder, SweepFolderError
from toprung.analysis.sweep_folder.user_state import state_dir
from toprung.trainables.files.object_store import ObjectStore
from toprung.trainables.provenance.image_set import BYTES_PER_IMAGE, ImageSet, ProvenanceError

BESIDE = ".toprung-openings"
_SUFFIX = ".images"
_MOST_BROUGHT = 100
"""The most openings that are taken over from a sweep of unknown origin."""
_MAX_BYTES = BYTES_PER_IMAGE * 2**23
"""The largest list of images that is read: 64 MiB, 8 million images."""
_MAX_BYTES_OF_ALL = 4 * _MAX_BYTES
"""The total size of all lists of images in one ledger: 335 test sets of 100,000 images."""


@dataclass(frozen=True)
class Earlier:
    """What was known about a test set's images before one opening, apart from that opening.

    Attributes:
        openings: the number of openings of any of these images, including those with an unknown
            result.
        models: the number of other models that were tested on them.
        images: how many of these images had been opened.
        of_images: how many different images there are.
        sweeps: the names of the sweeps that opened them.
        remarks: problems with the ledgers; each is a sentence.
    """

    openings: int
    models: int
    images: int
    of_images: int
    sweeps: list[str]
    remarks: list[str] = field(default_factory=list)


class Ledger:
    """The openings that are kept in one location.

    Args:
        place: a folder, which need not exist; or a location in an object store.
        name: its name in messages that are also published, so without paths of the machine.
    """

    def __init__(self, place: Path | ObjectStore, name: str = "a ledger of openings") -> None:
        self.name = name
        self._files = SmallFiles(place)
        self.remarks: list[str] = []
        self.intents: list[Intent] = []
        self.sets: dict[str, ImageSet] = {}
        try:
            self._read()
        except OSError as error:
            self.remarks.append(f"{self._files}: cannot be read: {error.strerror or error}")

    def _read(self) -> None:
        self.intents, self.remarks = read_intents(self._files)
        ids = dict.fromkeys(intent.images for intent in self.intents if intent.images)
        names = [f"{one}{_SUFFIX}" for one in ids]
        left = _MAX_BYTES_OF_ALL
        for name, content in self._files.read_all(names, _MAX_BYTES):
            images = _images(content, name.removesuffix(_SUFFIX))
            if images is None:
                self.remarks.append(f"{self._files}/{name}: is not the list of a test set's images")
                continue
            left -= BYTES_PER_IMAGE * len(images)
            if left < 0:
                self.remarks.append(
                    f"{self._files}: has test sets of over {_MAX_BYTES_OF_ALL:,} bytes in all; "
                    f"from {name} on they were not read"
                )
                return
            self.sets[images.id] = images

    def add(self, intent: Intent, images: ImageSet) -> None:
        """Add an opening, unless it is known already; its images are written first.

        Raises:
            OSError: if it cannot be written.
        """
        if intent.id in {known.id for known in self.intents} and images.id in self.sets:
            return
        if images.id not in self.sets:
            self._files.write(f"{images.id}{_SUFFIX}", images.as_bytes())
            self.sets[images.id] = images
        entry = replace(intent, images=images.id)
        self._files.write(entry.file_name, entry.as_json().encode())
        self.intents.append(entry)

    def try_to_add(self, intent: Intent, images: ImageSet) -> None:
        """Add an opening; a failure is only a remark, because the sweep has its own record."""
        try:
            self.add(intent, images)
        except OSError as error:
            reason = error.strerror or error
            self.remarks.append(f"{self._files}: this opening cannot be kept there: {reason}")


def _images(content: bytes | None, expected_id: str) -> ImageSet | None:
    """The images listed in a file; None if its content does not match its name."""
    if content is None or hashlib.sha256(content).hexdigest()[:32] != expected_id:
        return None
    try:
        images = ImageSet.from_bytes(content)
    except ProvenanceError:
        return None
    return images if images.id == expected_id else None  # otherwise unsorted, or with duplicates


class History:
    """All openings in several ledgers."""

    def __init__(self, ledgers: Sequence[Ledger]) -> None:
        self._ledgers = ledgers

    @property
    def remarks(self) -> list[str]:
        """Problems with the ledgers; each is a sentence."""
        return [remark for ledger in self._ledgers for remark in ledger.remarks]

    @property
    def intents(self) -> list[Intent]:
        """Every opening once, the earliest first."""
        by_id = {intent.id: intent for ledger in self._ledgers for intent in ledger.intents}
        return sorted(by_id.values(), key=lambda intent: (intent.begun_at, intent.id))

    def ledgers_of(self, intent: Intent) -> str:
        """The names of the ledgers that have an opening."""
        ids = {ledger.name: {one.id for one in ledger.intents} for ledger in self._ledgers}
        return " and ".join(name for name, known in ids.items() if intent.id in known)

    def set_of(self, images: str | None) -> ImageSet | None:
        """The images of a test set, if a ledger has them."""
        found = (ledger.sets.get(images or "") for ledger in self._ledgers)
        return next((one for one in found if one is not None), None)

    def add(self, intent: Intent, images: ImageSet) -> None:
        """Add an opening to every ledger."""
        for ledger in self._ledgers:
            ledger.try_to_add(intent, images)

    def openings_of(self, images: ImageSet) -> list[Intent]:
        """The openings of any of these images, the earliest first."""
        shared = {
            other
            for other in {intent.images for intent in self.intents}
            if (known := self._set_of(other, images)) is not None and images.num_in([known])
        }
        return [intent for intent in self.intents if intent.images in shared]

    def earlier(self, images: ImageSet, weights_sha256: str, but: str = "") -> Earlier:
        """Other openings of these images, and how many were for other models.

        Args:
            images: the images of the test set.
            weights_sha256: the digest of the model whose figures are to be judged.
            but: the id of the model's own opening, which does not count.
        """
        found = [intent for intent in self.openings_of(images) if intent.id != but]
        sets = {one: self._set_of(one, images) for one in {intent.images for intent in found}}
        return Earlier(
            openings=len(found),
            models=len({intent.weights_sha256 for intent in found} - {weights_sha256}),
            images=images.num_in(one for one in sets.values() if one is not None),
            of_images=len(images),
            sweeps=list(dict.fromkeys(intent.sweep for intent in found)),
            remarks=self.remarks,
        )

    def _set_of(self, other: str | None, images: ImageSet) -> ImageSet | None:
        """A test set by its id; `images` itself is found even if no ledger has its images."""
        return images if other == images.id else self.set_of(other)


def images_of_splits(folder: SweepFolder) -> ImageSet | None:
    """The test images of a sweep, from its `splits.csv`; None if they are not recorded there."""
    try:
        known = split_images(folder.splits)
    except SweepFolderError:  # the hashes can be computed from the images themselves
        return None
    return known.test if known is not None and len(known.test) else None


def keep_openings(folder: SweepFolder) -> None:
    """Add the openings of a sweep that was brought from another machine to the ledgers here."""
    images, history = images_of_splits(folder), history_of(folder)
    if images is None:
        return
    for intent in intents_of(folder)[0][:_MOST_BROUGHT]:
        if intent.images in (None, images.id):
            history.add(intent, images)


def history_of(folder: SweepFolder) -> History:
    """The ledgers next to a sweep, which need not exist yet, and in the user's state folder."""
    store = folder.store
    beside = folder.path.parent / BESIDE if store is None else store.parent.within(BESIDE)
    return History([Ledger(beside, f"the ledger beside the sweep ({BESIDE}/)"), _of_user()])


def history_of_user() -> History:
    """The ledger in the user's state folder."""
    return History([_of_user()])


def _of_user() -> Ledger:
    return Ledger(state_dir() / "openings", "the ledger in the user's state folder (openings/)")
