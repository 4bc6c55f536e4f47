"""ABI of the executor: words of memory that Python and compiled code both read and write.

Named as elsewhere for what separately compiled parts agree on (application binary interface); the
word layout is taken by the layout of tensors. Every name is a plain integer, which numba compiles
as a constant, or a tuple of the names of an argument record's words. Nothing is imported: a cached
program opens without numba, and this file is needed to open it.

Tables are int64 arrays of rows. A constant ``X_COLUMNS`` is the length of a row of a table, the
other constants with its prefix are the positions of a row's words.
"""

# --- sizes: rows of instructions, of which row i computes the value of slot i -----------------

CODE_OPERATION, CODE_LEFT, CODE_RIGHT, CODE_STEP = range(4)
"""Operands are slots; of CONSTANT the number itself, of SYMBOL the index of the symbol. The step is
the first that needs the slot; -1 - i stands for host step i."""
CODE_COLUMNS = 4

CONSTANT, SYMBOL, ADD, MULTIPLY, FLOOR_DIVIDE, MODULO, MINIMUM, MAXIMUM = range(8)
BROADCAST, BOUND, NOT_ONE, SCALED = range(8, 12)
"""Operations. Division by zero gives 0. BROADCAST gives the right operand where the left one is 1,
else the left one; BOUND the position from 0 to the right operand that the left one means as the
limit of a slice; NOT_ONE 1 for a left operand other than 1, else 0; SCALED the
left operand times the right one over SCALE, in float32 and rounded down."""
SCALE = 1 << 40

SIZE_LIMIT = 1 << 62
"""Magnitude that no number in a slot reaches: a sum of two stays within 64 bits."""
UNKNOWN, OVERFLOW = -(1 << 63), 1 - (1 << 63)
"""What slots hold instead of a number: nothing yet, as symbols of later phases; one beyond the
limit. What is computed from them holds the same."""
ADDRESS_SPACE = 1 << 47
"""Bytes that a process can address."""

# --- memory -----------------------------------------------------------------------------------

BUFFER_KIND, BUFFER_SIZE, BUFFER_FIRST, BUFFER_LAST, BUFFER_PHASE = range(5)
"""Kind, slot of the size in bytes, first and last step that uses it, phase that places it."""
BUFFER_COLUMNS = 5

ARENA, WEIGHTS, INPUT, OUTPUT, HOST, BLOCK = range(6)
"""Kinds of buffers: working memory, constants, arrays of the caller, results of host steps, and
the words of a block of memory that grows."""
BLOCK_ADDRESS, BLOCK_BYTES = range(2)
"""Address of a block's memory, 0 as long as it has none, and bytes there are."""
BLOCK_COLUMNS = 2
ALIGNMENT = 64
"""Buffers in the arena begin at multiples of so many bytes, a cache line."""

# --- argument records -------------------------------------------------------------------------

PATCH_WORD, PATCH_KIND, PATCH_SOURCE, PATCH_OFFSET = range(4)
"""Word to write, kind, what to write, slot of the byte offset (of ADDRESS only)."""
PATCH_COLUMNS = 4

VALUE, ADDRESS, RECORD, KERNEL = range(4)
"""Kinds of patches, by what their source is: a slot, a buffer, the first word of a record, or the
number of a kernel, which is written once when a program is made ready for a process."""

PIECE_ADDRESS, PIECE_BYTES, PIECE_STRIDE = range(3)
"""Address of a run of a concatenation's operand, its bytes, and those from one row to the next."""
PIECE_COLUMNS = 3

# --- steps ------------------------------------------------------------------------------------

COST_OPERATIONS, COST_BYTES = range(2)
"""Slots of the number of floating-point operations and of bytes moved by a step."""
COST_COLUMNS = 2

STEP_KERNEL, STEP_RECORD, STEP_END, STEP_PARTS = range(4)
"""Addresses of the kernel and of its record; where the run of steps of one part ends that begins
here, at this step or before it where it has several; number of its parts."""
STEP_COLUMNS = 4

FEW_PARTS, MANY_PARTS, SLICED_PARTS = 48, 240, 3840
"""Parts of a step that is shared, of one that is long enough to wake threads for it, and of one so
long that its threads look for cancellation in between. All can be divided by many numbers of
threads: a few rows are split evenly only where the parts are."""
SLICE_PARTS = 16
"""Parts of such a step that a thread does before it looks for the first time."""
EXTREME_PIECES = 48
"""Pieces of a tensor whose extremes are found apart, so that threads may share the work."""

# --- records of the executor's own kernels: names of their words, in order --------------------

EVALUATE = ("code", "count", "symbols", "values")
PLAN = ("buffers", "count", "values", "phase", "begin", "offsets", "order", "total")
FILL = ("patches", "count", "values", "bases", "words")
SCHEDULE = (
    "costs", "count", "values", "steps", "operations_per_ns", "bytes_per_ns", "alone_ns",
)  # fmt: skip
WORK = ("team",)
RUN = (
    "steps", "first", "last", "team", "status", "budget", "times", "flush", "job", "threads",
    "poll", "busy", "patches", "patch_count", "values", "bases", "words", "arrays", "ports",
    "inputs", "outputs", "feeds", "objects",
)  # fmt: skip

PLAN_PHASE = PLAN.index("phase")
PLAN_BEGIN = PLAN.index("begin")

# Words of RUN that Python changes between runs, or that the workers of a team read.
JOB_STEPS = RUN.index("steps")
JOB_FIRST = RUN.index("first")
JOB_LAST = RUN.index("last")
JOB_TEAM = RUN.index("team")
JOB_STATUS = RUN.index("status")
JOB_BUDGET = RUN.index("budget")
JOB_TIMES = RUN.index("times")
JOB_FLUSH = RUN.index("flush")
JOB_ITSELF = RUN.index("job")
JOB_POLL = RUN.index("poll")
JOB_BUSY = RUN.index("busy")
JOB_FEEDS = RUN.index("feeds")
JOB_RECORD_WORDS = len(RUN)

# --- calls from Python ------------------------------------------------------------------------

CALL_FAILED, CALL_DIFFERS = -1, -2
"""Results of a call: the run has failed; the arrays given are not what its records are bound to."""

PORT_BUFFER, PORT_NAME, PORT_TYPE, PORT_RANK, PORT_SHAPE, PORT_FLAGS = range(6)
"""Of an input or output: its buffer; the objects that are the key of an input and the type of the
array; the length of its shape (-1: as yet none), and where that lies; bytes that have to be 0 or 1.
"""
PORT_COLUMNS = 6

OBJECT_DICT, OBJECT_ARRAY, OBJECT_EMPTY, OBJECT_DATA = range(4)
"""The types of dictionaries and of arrays, numpy's function that makes an array, and the bytes from
the begin of an array object to the pointer to its data."""

ARRAY_SHAPE, ARRAY_TYPE, ARRAY_FLAGS = 2, 5, 6
"""Words of an array object, from the pointer to its data on; the first half of the word after that
is the rank, that of the last one has the flags."""
ARRAY_READABLE = 0x0001 | 0x0100
"""Flags of arrays that are C-contiguous and aligned."""

# --- state of a run ---------------------------------------------------------------------------

STATUS_ERROR, STATUS_STEP, STATUS_CANCEL = range(3)
"""Error code or 0, step that failed, request to cancel or 0."""
STATUS_WORDS = 8

TIMES_LAST, TIMES_STEPS = range(2)
"""Time at which the last step ended; from here on the time that each step took, in ticks."""

RAISED = 255
"""Error code of a kernel that a function of the caller's has left by an exception."""

# --- state of a team of threads: words in cache lines of their own ----------------------------

TEAM_LEFT, TEAM_STOP, TEAM_RECORD = range(0, 24, 8)
"""Parts of the step under way not finished yet; request to end or 0; record of kernel ``work``."""
TEAM_SEQUENCE, TEAM_DEADLINE, TEAM_ENDED, TEAM_FOLLOWS, TEAM_WOKEN = range(1, 6)
"""Beside the parts left, for the thread that has done the last of them: number of the last shares;
times: when the run lets Python look for signals, when the last run ended; whether this one followed
it closely; time at which a thread was last woken."""
TEAM_LINES = 24
"""For each thread two cache lines, with its share of the step under way and what it waits at."""

LINE_SHARE, LINE_JOB, LINE_STEP, LINE_FLUSH, LINE_HOLDS, LINE_REACHED, LINE_MOST = range(7)
"""Share; record of the run; the step; how the thread treats denormal numbers; whether it has parts
that are not finished; in the first thread's line the step that the run ended at, -1 until then;
parts of the share to take at most at a time."""
LINE_ASLEEP, LINE_PROCESSOR, LINE_THREAD, LINE_SEMAPHORE = range(8, 12)
"""State; the processor the thread was last seen on; its number in the system, 0 of the first one;
the semaphore of the C library that it sleeps at (four words)."""
AWAKE, ASLEEP, WOKEN = range(3)
"""States of a thread; WOKEN until it runs."""
LINE_WORDS = 16
SHARE_SHIFT = 12
"""A share is one word: its number, the next part to take, the end; the last two of so many bits."""
