"""A video with sound: a beep of a tenth of a second."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
from PIL import Image

RATE, FPS, SECONDS = 16_000, 10, 2
BEEP = 0.8  # the second in which it begins


def film(path: Path, codec: str | None) -> Path:
    """Two seconds that grow red, with the beep if there is a codec for it."""
    with av.open(str(path), "w") as container:
        video = container.add_stream("mpeg4", rate=FPS)
        video.width, video.height, video.pix_fmt = 32, 16, "yuv420p"
        audio = codec and container.add_stream(codec, rate=RATE, layout="mono")
        for number in range(FPS * SECONDS):
            colour = (12 * number, 40, 120)
            frame = av.VideoFrame.from_image(Image.new("RGB", (32, 16), colour))
            container.mux(video.encode(frame))
        container.mux(video.encode())
        if audio:
            times = np.arange(RATE * SECONDS) / RATE
            heard = (times >= BEEP) & (times < BEEP + 0.1)
            tone = (np.sin(2 * np.pi * 1000 * times) * heard * 20_000).astype(np.int16)
            resampler = av.AudioResampler(audio.format, "mono", RATE, frame_size=1024)
            whole = av.AudioFrame.from_ndarray(tone[None], format="s16", layout="mono")
            whole.sample_rate, whole.pts = RATE, 0
            for frame in (whole, None):
                for part in resampler.resample(frame):
                    container.mux(audio.encode(part))
            container.mux(audio.encode())
    return path
