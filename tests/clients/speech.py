"""Speech of a small formant synthesiser: pulses of the glottis through resonators of second order.

Klatt, "Software for a cascade/parallel formant synthesizer", 1980; formants of vowels of Peterson
and Barney, 1952.
"""

from __future__ import annotations

import numpy as np
from scipy.signal import lfilter

_VOWELS = {
    "a": (730, 1090, 2440),
    "e": (530, 1840, 2480),
    "i": (270, 2290, 3010),
    "o": (570, 840, 2410),
    "u": (300, 870, 2240),
}
_BANDWIDTHS = (60, 90, 150)
_FRICATIVE = (4500, 1500)
"""Center and bandwidth of the noise of an s, in Hz."""
_NASAL = (250, 1200, 2200)


def speech(sentence: str = "sa no mi se ku, ta i no. so mu ne a", rate: int = 16000) -> np.ndarray:
    """Return syllables of a consonant and a vowel; commas and full stops are pauses.

    Returns
    -------
    ndarray of float32, shape (samples,)
        Between -0.6 and 0.6.
    """
    rng = np.random.default_rng(7)
    parts, pitch = [np.zeros(int(0.3 * rate))], 140.0
    for letter in sentence:
        pitch = 140.0 if letter == "." else pitch * 0.985
        if letter in _VOWELS:
            parts.append(_voiced(_VOWELS[letter], 0.16, pitch, rate, rng))
        elif letter in "mn":
            parts.append(0.4 * _voiced(_NASAL, 0.07, pitch, rate, rng))
        elif letter == "s":
            parts.append(0.25 * _noise(_FRICATIVE, 0.09, rate, rng))
        elif letter in "tk":
            parts.append(np.zeros(int(0.04 * rate)))
            parts.append(0.4 * _noise((3000, 2500), 0.015, rate, rng))
        elif letter in ",.":
            parts.append(np.zeros(int((0.35 if letter == "," else 0.7) * rate)))
    parts.append(np.zeros(int(0.5 * rate)))
    sound = np.concatenate(parts)
    sound = 0.6 * sound / np.abs(sound).max() + 1e-4 * rng.standard_normal(len(sound))
    return sound.astype(np.float32)


def _voiced(
    formants: tuple[int, ...], seconds: float, pitch: float, rate: int, rng: np.random.Generator
) -> np.ndarray:
    """Return a vowel or a nasal, with a little breath and a pitch that wavers."""
    count = int(seconds * rate)
    time = np.arange(count) / rate
    phase = np.cumsum(pitch * (1 + 0.02 * np.sin(2 * np.pi * 5 * time))) / rate
    pulses = np.diff(np.floor(phase), prepend=0.0)
    source = lfilter([1], [1, -0.95], pulses) + 0.01 * rng.standard_normal(count)
    for center, width in zip(formants, _BANDWIDTHS, strict=True):
        source = _resonated(source, center, width, rate)
    return _faded(source / np.abs(source).max(), rate)


def _noise(
    band: tuple[int, int], seconds: float, rate: int, rng: np.random.Generator
) -> np.ndarray:
    sound = _resonated(rng.standard_normal(int(seconds * rate)), *band, rate)
    return _faded(sound / np.abs(sound).max(), rate)


def _resonated(source: np.ndarray, center: float, width: float, rate: int) -> np.ndarray:
    radius = np.exp(-np.pi * width / rate)
    back = [1, -2 * radius * np.cos(2 * np.pi * center / rate), radius**2]
    result: np.ndarray = lfilter([sum(back)], back, source)
    return result


def _faded(sound: np.ndarray, rate: int) -> np.ndarray:
    edge = min(int(0.012 * rate), len(sound) // 2)
    ramp = np.linspace(0, 1, edge)
    sound[:edge] *= ramp
    sound[-edge:] *= ramp[::-1]
    return sound
