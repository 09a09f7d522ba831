"""What the page remembers of each open tab, in memory only, until the tab is closed."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass, field

from PIL import Image

from facemeld.web.engine import Made
from facemeld.web.portraits import Portrait

MOST_REFERENCES = 6
MOST_KEPT = 24
MOST_SESSIONS = 32


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
    stops: int = 0
    """How often a job was stopped."""

    @property
    def portraits(self) -> list[Portrait]:
        """All pictures."""
        return [*self.references, *([self.source] if self.source else [])]

    @property
    def names(self) -> set[str]:
        """Of all pictures."""
        return {portrait.name for portrait in self.portraits}

    def keep(self, made: Made) -> None:
        """Puts a result in front of the others; the oldest goes when there are too many."""
        self.count += 1
        self.kept = [made, *self.kept][:MOST_KEPT]


class Sessions:
    """The open tabs; the one that was used longest ago goes when there are too many."""

    def __init__(self) -> None:
        self._sessions: OrderedDict[str, Session] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, tab: str) -> Session:
        """The session of a tab, new if there is none."""
        with self._lock:
            session = self._sessions.setdefault(tab, Session())
            self._sessions.move_to_end(tab)
            while len(self._sessions) > MOST_SESSIONS:
                self._sessions.popitem(last=False)
            return session

    def drop(self, tab: str) -> None:
        """Forgets a tab."""
        with self._lock:
            self._sessions.pop(tab, None)

    def __len__(self) -> int:
        return len(self._sessions)
