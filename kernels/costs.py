"""Cost model of this machine: what kernels take, as linear functions of named terms.

``sardonyx machine`` measures the coefficients and keeps them in the cache folder. Before that,
those of the processor's family are used (`cost_tables`). All are times, in multiply-adds of a
vector of float32 that a core does meanwhile at its peak, so they do not depend on the clock; those
of threads are in nanoseconds. Whoever chooses between forms of a step asks ``machine_costs``:

- `TileCosts`: tiles of convolutions and products (``cpu.packing``);
- `WinogradCosts`: Winograd's forms beside the direct one (``runtime.ops.winograd_costs``);
- `StreamCosts`: passes over data that another form goes without: strips of rows, gates, images that
  become bytes, halves or wide pixels (``runtime.strips``, ``runtime.ops.gates`` and others);
- `VectorCosts`: what else vectors do: weights that are widened, operands that are rounded,
  transpositions and pooling (``runtime.ops.bfloats``, ``runtime.ops.planes`` and others);
- `SharingCosts`: which steps threads share (``cpu.executor``).

The coefficients are those of a least-squares fit without negative ones (``tools.cost_fit``), as
tract fits them (``linalg/cost_model`` in github.com/sonos/tract).
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any, NamedTuple, Self

from .target import LANES, target

_PAGE = 4096
_MOST = 1 << 40
"""What numbers that compiled code divides by are at most."""


class TileCosts(NamedTuple):
    """Coefficients of a tile of ``rows`` and ``vectors`` that sums ``depth`` products.

    Attributes
    ----------
    multiply_add
        ``depth * rows * vectors``: multiply-adds.
    spread
        ``depth * rows``: numbers of the image, each spread over a vector.
    weight
        ``depth * vectors``: vectors of weights that are loaded.
    gap
        ``depth * max(chain - rows * vectors, 0)``: multiply-adds that too few sums leave undone,
        since each waits for the one before.
    conflict
        ``depth * max(rows - lines, 0)``: rows that are a stride apart beyond the lines that the
        first-level cache has for such addresses.
    result
        ``rows * vectors``: vectors of sums that are finished and stored.
    row
        ``rows``: places in memory where results go, and whence what is added comes.
    tile
        1.
    panel
        ``depth * vectors**2`` once for all tiles: vectors of weights when they come from further
        away than the first-level cache, which the more of them a step takes hide the less.
    chain
        Sums that hide the latency of a multiply-add; no coefficient.
    """

    multiply_add: float
    spread: float
    weight: float
    gap: float
    conflict: float
    result: float
    row: float
    tile: float
    panel: float
    chain: float

    def of(self, terms: Sequence[float]) -> float:
        """Return the cost of what has some terms."""
        return sum(c * term for c, term in zip(self[:-1], terms, strict=True))


def tile_terms(rows: int, vectors: int, depth: int, stride: int, chain: float) -> tuple[float, ...]:
    """Return what each coefficient of a tile but that of panels is multiplied by, in their order.

    Rows of the image are ``stride`` bytes apart.
    """
    sums = rows * vectors
    gap = depth * max(chain - sums, 0.0)
    conflict = depth * max(rows - _lines_at(stride), 0)
    return (depth * sums, depth * rows, depth * vectors, gap, conflict, sums, rows, 1.0)


def _lines_at(stride: int) -> int:
    """Return how many lines, a stride apart, the first-level cache holds.

    Its sets are chosen by bits 6 to 11 of an address: those of a page, which are known before the
    address is translated.
    """
    ways = max(target().l1 // _PAGE, 1)
    return ways * _PAGE // math.gcd(stride, _PAGE)


class WinogradCosts(NamedTuple):
    """Coefficients of a convolution in Winograd's form, and in the direct one.

    Attributes
    ----------
    direct, products
        What `TileCosts` say of the sums of the direct form, and of products of points.
    inward, outward
        Multiply-adds of vectors in the transforms of the image and of the result: elements of their
        matrices that are not zero.
    tile
        A tile of pixels, whatever its channels.
    point
        Products of a point, whatever the number of tiles.
    """

    direct: float
    products: float
    inward: float
    outward: float
    tile: float
    point: float


class StreamCosts(NamedTuple):
    """Coefficients of data that one core reads or writes in order: of a byte, by where it lies.

    Attributes
    ----------
    near, far, memory
        In the second-level cache, in the third, and in none.
    latency
        From asking for a line of memory until it is there.
    weights
        Of weights in no cache that a single tile multiplies, beside its products. Other tiles
        compute while weights of the next panel are under way.
    """

    near: float
    far: float
    memory: float
    latency: float
    weights: float

    def of(self, count: float) -> float:
        """Return the cost of a byte of data of so many bytes, which a step before has made.

        A cache holds it where there is as much room for what is read and written beside it.
        """
        if 2 * count <= target().l2:
            return self.near
        return self.far if 2 * count <= target().l3 else self.memory

    def uses_of_vector(self) -> float:
        """Return how many multiply-adds take as long as a vector of float32 takes from memory.

        Products of fewer rows wait for their weights.
        """
        return 4 * LANES * self.memory

    def bytes_under_way(self) -> int:
        """Return how many bytes of a stream are under way from memory: a power of two.

        So far ahead of their use tiles ask for weights of a stream that the processor follows, too.
        """
        return self._within(self.latency)

    def bytes_ahead(self) -> int:
        """Return how far ahead of its use a line is asked for to be there in time.

        In twice the latency, since a line takes longer while memory is busy.
        """
        return self._within(2 * self.latency)

    def _within(self, time: float) -> int:
        """Return the bytes that memory hands out meanwhile, as a power of two."""
        count = time / max(self.memory, 1e-9)
        return 1 << min(max(round(math.log2(max(count, 1.0))), 10), 14)


class VectorCosts(NamedTuple):
    """Coefficients of vectors of float32 that other steps take than tiles.

    Attributes
    ----------
    widened
        One of float16 that products widen, beyond one that they load.
    rounded
        One that is loaded, rounded to bfloat16 and stored.
    turned
        One of a transposition, beside the stream of what is read and written.
    pooled_row
        A row of the result where planes are pooled, beside its vectors.
    """

    widened: float
    rounded: float
    turned: float
    pooled_row: float


class SharingCosts(NamedTuple):
    """What threads of a team take.

    Attributes
    ----------
    operations_per_ns, bytes_per_ns
        What one thread does in the small steps of real models, whose data is in a cache.
    alone_ns
        A step that takes no longer is done by one thread: half of it is not worth what it takes
        to share it.
    """

    operations_per_ns: int
    bytes_per_ns: int
    alone_ns: int

    @property
    def operations_alone(self) -> int:
        """Operations of a part that is worth another thread's time."""
        return self.operations_per_ns * self.alone_ns


class Costs(NamedTuple):
    """Cost model of a processor; see the module.

    Attributes
    ----------
    tile
        Of tiles.
    floats, byte_words
        Of Winograd's forms of float32, and of bytes by units that multiply words and pairs four
        and two times as fast as float32.
    streams
        Of data in caches and memory.
    vectors
        Of vectors outside tiles.
    reload
        A vector of weights that a tile takes from the second-level cache, beyond what it takes from
        the first.
    step
        A step of a program beside what it computes; a part of one that is called for a strip.
    tile_stores
        Of AMX: what it takes to store the sums of a tile of bytes and read them again, in its steps
        of 16 words.
    sharing
        Of threads.
    """

    tile: TileCosts
    floats: WinogradCosts
    byte_words: WinogradCosts
    streams: StreamCosts
    vectors: VectorCosts
    reload: float
    step: float
    tile_stores: float
    sharing: SharingCosts

    def to_text(self) -> str:
        """Return a line that `from_text` reads."""
        return json.dumps(self)

    @classmethod
    def from_text(cls, line: str) -> Self:
        """Return the costs that a line states.

        Raises
        ------
        ValueError
            It states none, or some that are negative or not finite.
        """
        fields = json.loads(line)
        kinds = (
            TileCosts, WinogradCosts, WinogradCosts, StreamCosts, VectorCosts, float, float, float,
            SharingCosts,
        )  # fmt: skip
        try:
            found = cls(*(_read(kind, field) for kind, field in zip(kinds, fields, strict=True)))
        except TypeError as error:
            raise ValueError(f"{line!r} states no costs: {error}") from error
        return found


def _read(kind: Any, field: Any) -> Any:
    numbers = [float(number) for number in (field if isinstance(field, list) else [field])]
    if not all(math.isfinite(number) and number >= 0 for number in numbers):
        raise ValueError(f"costs are finite and not negative, not {numbers}")
    if kind is float:
        return numbers[0]
    if kind is not SharingCosts:
        return kind(*numbers)
    sharing = SharingCosts(*map(int, numbers))
    if min(sharing.operations_per_ns, sharing.bytes_per_ns) < 1 or max(sharing) > _MOST:
        raise ValueError(f"rates are whole numbers from 1 to {_MOST}, not {sharing}")
    return sharing
