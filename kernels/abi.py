"""ABI of the executor: words of memory that Python and compiled code both read and write.

Named as elsewhere for what separately compiled parts agree on (application binary interface); the
word layout is taken by the layout of tensors. Every name is a plain integer, which numba compiles
as a constant, or a tuple of the names of an argument record's words. Nothing is imported: a cached
program opens without numba, and this file is needed to open it.

Tables are int64 arrays of rows. A constant ``X_COLUMNS`` is the length of a row of a table, the
other constants with its prefix are the positions of a row's words.
"""

# --- sizes: rows of instructions, of which row i computes the value of slot i -----------------

CODE_OPERATION, CODE_LEFT, CODE_RIGHT = range(3)
"""Operands are slots; of CONSTANT the number itself, of SYMBOL the index of the symbol."""
CODE_COLUMNS = 3

CONSTANT, SYMBOL, ADD, MULTIPLY, FLOOR_DIVIDE, MODULO, MINIMUM, MAXIMUM, NOT_ONE = range(9)
"""Operations. Division by zero gives 0; NOT_ONE gives 1 for a left operand other than 1, else 0."""

# --- memory -----------------------------------------------------------------------------------

BUFFER_KIND, BUFFER_SIZE, BUFFER_FIRST, BUFFER_LAST, BUFFER_PHASE = range(5)
"""Kind, slot of the size in bytes, first and last step that uses it, phase that places it."""
BUFFER_COLUMNS = 5

ARENA, WEIGHTS, INPUT, OUTPUT, HOST = range(5)
"""Kinds of buffers: working memory, constants, arrays of the caller, results of host steps."""
ALIGNMENT = 64
"""Buffers in the arena begin at multiples of so many bytes, a cache line."""

# --- argument records -------------------------------------------------------------------------

PATCH_WORD, PATCH_KIND, PATCH_SOURCE, PATCH_OFFSET = range(4)
"""Word to write, kind, what to write, slot of the byte offset (of ADDRESS only)."""
PATCH_COLUMNS = 4

VALUE, ADDRESS, RECORD, KERNEL = range(4)
"""Kinds of patches, by what their source is: a slot, a buffer, the first word of a record, or the
number of a kernel, which is written once when a program is made ready for a process."""

# --- steps ------------------------------------------------------------------------------------

COST_OPERATIONS, COST_BYTES = range(2)
"""Slots of the number of floating-point operations and of bytes moved by a step."""
COST_COLUMNS = 2

STEP_KERNEL, STEP_RECORD, STEP_END = range(3)
"""Addresses of the kernel and of its record; steps before STEP_END, if there are any, are for the
first thread alone."""
STEP_COLUMNS = 3

# --- records of the executor's own kernels: names of their words, in order --------------------

EVALUATE = ("code", "count", "symbols", "values")
PLAN = ("buffers", "count", "values", "phase", "offsets", "order", "total")
FILL = ("patches", "count", "values", "bases", "words")
SCHEDULE = ("costs", "count", "values", "steps")
WORK = ("team",)
RUN = (
    "steps", "first", "last", "team", "status", "budget", "times", "job", "patches", "count",
    "values", "bases", "words", "threads", "arrays", "array_buffers", "array_count",
    "data_pointer",
)  # fmt: skip

PLAN_PHASE = PLAN.index("phase")

# Words of RUN that Python changes between runs, or that the workers of a team read.
JOB_STEPS = RUN.index("steps")
JOB_FIRST = RUN.index("first")
JOB_LAST = RUN.index("last")
JOB_TEAM = RUN.index("team")
JOB_STATUS = RUN.index("status")
JOB_BUDGET = RUN.index("budget")
JOB_TIMES = RUN.index("times")
JOB_ITSELF = RUN.index("job")

# --- state of a run ---------------------------------------------------------------------------

STATUS_ERROR, STATUS_STEP, STATUS_STOP, STATUS_CANCEL = range(4)
"""Error code or 0, step that failed, step to stop before, request to cancel or 0."""
STATUS_WORDS = 8

# --- state of a team of threads: words in cache lines of their own ---------

TEAM_GENERATION, TEAM_ARRIVED, TEAM_JOB, TEAM_SLEEPERS, TEAM_STOP, TEAM_SEMAPHORE = range(0, 48, 8)
"""Number of the run, threads that have arrived at the barrier, address of the run's record, threads
that sleep on the semaphore, request to end or 0, semaphore of the C library (four words)."""
TEAM_RECORD = 48
"""Argument record of the kernel ``work``."""
TEAM_WORDS = 64
