"""The sound of a source video, taken along into an MP4: as it is, or as AAC in mono or stereo
if MP4 has no such kind. Read as the frames are written, so memory does not grow with length."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain
from pathlib import Path

from facemeld.errors import UserError
from facemeld.images.read import shown
from facemeld.images.video_read import PILLOW_SUFFIXES, opened
from facemeld.images.video_write import import_av

_KEPT = ("aac", "mp3", "ac3", "eac3", "alac", "opus")
_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)  # that AAC has


@dataclass
class Sound:
    """The first sound of a video file."""

    path: Path
    start: Fraction = Fraction(0)
    """Seconds after its first frame at which the new video begins; known once that has a frame."""


def sound_of(path: Path) -> Sound | None:
    """The sound of a video, if it has any."""
    if path.suffix.lower() in PILLOW_SUFFIXES:
        return None
    with opened(path) as (container, _):
        return Sound(path) if container.streams.audio else None


class SoundTrack:
    """A stream of sound in a new MP4 file, filled as its frames are.

    Args:
        target: PyAV's container, before anything was written to it.
        sound: of another file.

    Raises:
        UserError: it cannot be read; from all methods.
    """

    def __init__(self, target, sound: Sound) -> None:
        self._target, self._path = target, sound.path
        self._open = ExitStack()
        self._source, video = self._open.enter_context(opened(sound.path))
        self._audio = self._source.streams.audio[0]
        self._begin = Fraction(video.start_time or 0) * (video.time_base or 0) + sound.start
        if self._audio.codec_context.name in _KEPT:
            self._stream = target.add_stream_from_template(self._audio)
            self._packets = self._copied()
        else:
            rate = self._audio.rate if self._audio.rate in _RATES else _RATES[-1]
            layout = "mono" if self._audio.channels == 1 else "stereo"
            self._stream = target.add_stream("aac", rate=rate, layout=layout)
            self._packets = self._encoded()
        self._next: tuple[Fraction, object] | None = None

    def write_until(self, seconds: Fraction) -> None:
        """Writes what is heard before this time in the new video."""
        av = import_av()
        try:
            while True:
                self._next = self._next or next(self._packets, None)
                if self._next is None or self._next[0] >= seconds:
                    return
                self._target.mux(self._next[1])
                self._next = None
        except (av.error.FFmpegError, ValueError) as error:
            raise UserError(
                "the sound of the video cannot be read", where=shown(self._path), fix="--no-sound"
            ) from error

    def close(self) -> None:
        """Lets go of the file that the sound is from."""
        self._open.close()

    def _copied(self) -> Iterator[tuple[Fraction, object]]:
        """Packets as they are, with their times in the new video."""
        base = self._audio.time_base
        begin = round(self._begin / base)
        for packet in self._source.demux(self._audio):
            if packet.pts is None or packet.pts < begin:  # the last, empty one has none
                continue
            packet.pts -= begin
            packet.dts = packet.pts
            packet.stream = self._stream
            yield packet.pts * base, packet

    def _encoded(self) -> Iterator[tuple[Fraction, object]]:
        """The sound decoded and encoded anew."""
        av = import_av()
        context = self._stream.codec_context
        context.open()
        resampler = av.AudioResampler(
            format=context.format, layout=context.layout, rate=context.rate, frame_size=1024
        )
        begun = 0
        for frame in chain(self._frames(), [None]):
            for part in resampler.resample(frame):
                part.pts, part.time_base = begun, Fraction(1, context.rate)
                begun += part.samples
                yield from self._timed(self._stream.encode(part))
        yield from self._timed(self._stream.encode(None))

    def _frames(self) -> Iterator[object]:
        for frame in self._source.decode(self._audio):
            if frame.time is None or Fraction(frame.time) >= self._begin:
                yield frame

    def _timed(self, packets) -> Iterator[tuple[Fraction, object]]:
        for packet in packets:
            yield Fraction(packet.pts or 0) * packet.time_base, packet
