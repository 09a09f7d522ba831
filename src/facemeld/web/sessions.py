"""What the page remembers of each open tab, in memory only, until the tab is closed."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass, field

from PIL import Image

from facemeld.fusion.inputs import Input
from facemeld.web.made import Made
from facemeld.web.portraits import Portrait

MOST_REFERENCES = 6
MOST_KEPT = 24
MOST_CELLS = 64
"""Of a grid."""
MOST_SESSIONS = 32
MOST_BYTES = 1_000_000_000
"""Of all tabs together."""


@dataclass
class Session:
    """One tab."""

    source: Portrait | None = None
    references: list[Portrait] = field(default_factory=list)
    painted: Image.Image | None = None
    """The mask that was painted on the source."""
    latest: Made | None = None
    kept: list[Made] = field(default_factory=list)
    """The newest first."""
    count: int = 0
    """How many were kept, with those that are gone."""
    variations: list[Made] = field(default_factory=list)
    compared: list[Made] = field(default_factory=list)
    grid: list[Made] = field(default_factory=list)
    """Row by row."""
    grid_columns: int = 0
    grid_size: int | None = None
    """The side that its pictures have when they are kept."""

    @property
    def portraits(self) -> list[Portrait]:
        """All pictures."""
        return [*self.references, *([self.source] if self.source else [])]

    @property
    def names(self) -> set[str]:
        """Of all pictures."""
        return {portrait.name for portrait in self.portraits}

    @property
    def size(self) -> int:
        """Bytes in memory; what several results share counts once."""
        results = [*self.kept, *self.variations, *self.compared, *self.grid]
        results += [self.latest] if self.latest else []
        portraits = [*self.portraits, *(p for made in results for p in made.portraits)]
        return _size([*results, *portraits])

    def keep(self, made: Made) -> None:
        """Puts a result in front of the others; the oldest goes when there are too many."""
        self.count += 1
        self.kept = [made, *self.kept][:MOST_KEPT]


class Sessions:
    """The open tabs. When there are too many, or they hold too much, the one that was used longest
    ago goes; a tab that alone holds too much loses its oldest results.

    Args:
        most_bytes: of all tabs together.
    """

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self._most_bytes = most_bytes
        self._sessions: OrderedDict[str, Session] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, tab: str) -> Session:
        """The session of a tab, new if there is none."""
        with self._lock:
            session = self._sessions.setdefault(tab, Session())
            self._sessions.move_to_end(tab)
            sizes = {name: each.size for name, each in self._sessions.items()}
            while len(sizes) > 1 and (
                len(sizes) > MOST_SESSIONS or sum(sizes.values()) > self._most_bytes
            ):
                name, _ = self._sessions.popitem(last=False)
                del sizes[name]
            while session.kept and session.size > self._most_bytes:
                session.kept = session.kept[:-1]
            return session

    def drop(self, tab: str) -> None:
        """Forgets a tab."""
        with self._lock:
            self._sessions.pop(tab, None)

    def __len__(self) -> int:
        return len(self._sessions)


def _size(things: list[Made | Portrait]) -> int:
    """Bytes of all files and pictures that these hold, each once."""
    parts = {id(part): part for thing in things for part in list(vars(thing).values())}
    parts |= {id(p.image): p.image for p in list(parts.values()) if isinstance(p, Input)}
    total = 0
    for part in parts.values():
        if isinstance(part, bytes):
            total += len(part)
        elif isinstance(part, Image.Image):
            total += part.width * part.height * len(part.getbands())
    return total
