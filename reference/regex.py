"""Regular expressions that match in linear time, as those of RE2 do.

A pattern that backtracks can take longer than a computer lives: ``(a+)+b`` on a row of 40 letters.
Here the states that a text can have led to are walked together, so that a text of n letters and a
pattern of m elements take n m steps (K. Thompson, "Regular expression search algorithm", 1968).
Which states a letter leads to is remembered, unless that depends on its place: then n steps. Where
but one repetition, and that of one letter, leaves a choice, Python's own expressions take no more.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from re import _constants as codes  # type: ignore[attr-defined]
from re import _parser as parser  # type: ignore[attr-defined]
from typing import Any

import numpy as np

from .operator import Mover

_STATES = 100_000
"""Elements that a pattern may have, repetitions written out."""

_LETTERS = (codes.LITERAL, codes.NOT_LITERAL, codes.ANY, codes.IN)
"""Elements that stand for one letter."""

_SETS = 256
"""Sets of states, and letters after each, that are remembered."""

Test = Callable[[str], bool]
Place = Callable[[str, int], bool]


class _Machine:
    """States, each with a letter's test and what follows, or with several followers."""

    def __init__(self, pattern: str) -> None:
        parsed = parser.parse(pattern)
        self.flags = parsed.state.flags
        self.made: dict[tuple[str, str, int], Test] = {}
        self.tests: list[Test | None] = []
        self.places: list[Place | None] = []
        self.next: list[list[int]] = []
        self.choices = 0
        self.last = self._state()
        self.first = self._sequence(parsed, self.last)
        self.plain = re.compile(pattern) if self.choices <= 1 else None
        self.depends_on_places = any(place is not None for place in self.places)
        self.numbers: dict[frozenset[int], int] = {}
        self.sets: list[frozenset[int]] = []
        self.moves: list[dict[str, int]] = []
        self.dead = -1

    def _state(self, *following: int, test: Test | None = None, place: Place | None = None) -> int:
        if len(self.next) >= _STATES:
            raise ValueError(f"a pattern of over {_STATES} elements")
        self.tests.append(test)
        self.places.append(place)
        self.next.append(list(following))
        return len(self.next) - 1

    def _sequence(self, parsed: Any, after: int) -> int:
        for code, argument in reversed(list(parsed)):
            after = self._element(code, argument, after)
        return after

    def _element(self, code: Any, argument: Any, after: int) -> int:
        if code in (codes.MAX_REPEAT, codes.MIN_REPEAT):
            least, most, inner = argument
            return self._repeat(least, most, inner, after)
        if code is codes.SUBPATTERN:
            _, added, removed, inner = argument
            before = self.flags
            self.flags = (before | added) & ~removed
            first = self._sequence(inner, after)
            self.flags = before
            return first
        if code is codes.BRANCH:
            self.choices += 2
            return self._state(*[self._sequence(choice, after) for choice in argument[1]])
        if code is codes.AT:
            return self._state(after, place=_place(argument, self.flags))
        key = (str(code), str(argument), self.flags)
        if key not in self.made:
            self.made[key] = _test(code, argument, self.flags)
        return self._state(after, test=self.made[key])

    def _repeat(self, least: int, most: Any, inner: Any, after: int) -> int:
        is_of_letters = len(inner) == 1 and inner[0][0] in _LETTERS
        self.choices += (1 if is_of_letters else 2) if most != least else 0
        if most is codes.MAXREPEAT:
            loop = self._state(after)
            self.next[loop].append(self._sequence(inner, loop))
            first = loop
        else:
            first = after
            for _ in range(most - least):
                first = self._state(self._sequence(inner, first), after)
        for _ in range(least):
            first = self._sequence(inner, first)
        return first

    def matches(self, text: str) -> bool:
        """Tell whether the whole of a text matches."""
        if self.plain is not None:
            return self.plain.fullmatch(text) is not None
        if self.depends_on_places:
            return self._walked(text)
        at = self._number(self._reached([self.first], text, 0))
        for letter in text:
            after = self.moves[at].get(letter)
            at = self._moved(at, letter) if after is None else after
            if at == self.dead:
                return False
        return self.last in self.sets[at]

    def _number(self, states: set[int]) -> int:
        """Number of a set of states; of too many all are forgotten."""
        key = frozenset(states)
        number = self.numbers.get(key)
        if number is None:
            if len(self.sets) == _SETS:
                self.numbers, self.sets, self.moves, self.dead = {}, [], [], -1
            number = self.numbers[key] = len(self.sets)
            self.sets.append(key)
            self.moves.append({})
            if not key:
                self.dead = number
        return number

    def _moved(self, at: int, letter: str) -> int:
        """Number of the set that follows another by a letter."""
        moves = self.moves[at]
        after = self._number(self._reached(self._following(self.sets[at], letter), "", 0))
        if len(moves) < _SETS:
            moves[letter] = after
        return after

    def _following(self, states: Iterable[int], letter: str) -> list[int]:
        following: list[int] = []
        for state in states:
            test = self.tests[state]
            if test is not None and test(letter):
                following += self.next[state]
        return following

    def _walked(self, text: str) -> bool:
        """Tell the same, where what a letter leads to depends on those around it."""
        states = self._reached([self.first], text, 0)
        for at, letter in enumerate(text):
            states = self._reached(self._following(states, letter), text, at + 1)
            if not states:
                return False
        return self.last in states

    def _reached(self, states: list[int], text: str, at: int) -> set[int]:
        """States that need a letter, or are the last, reached without one."""
        seen: set[int] = set()
        waiting = list(states)
        while waiting:
            state = waiting.pop()
            if state in seen:
                continue
            place = self.places[state]
            if place is not None and not place(text, at):
                continue
            seen.add(state)
            if self.tests[state] is None:
                waiting += self.next[state]
        return seen


def _test(code: Any, argument: Any, flags: int) -> Test:
    """Make the test of a single letter; Python's own expressions of one letter do it."""
    if code not in _LETTERS:
        raise ValueError(f"{str(code).lower()} has no place in a pattern of linear time")
    state = parser.State()
    state.flags = flags
    state.str = ""
    compiled = _compiled(parser.SubPattern(state, [(code, argument)]), flags)
    return lambda letter: compiled.fullmatch(letter) is not None


def _compiled(parsed: Any, flags: int) -> re.Pattern[str]:
    from re import _compiler  # type: ignore[attr-defined]

    compiled: re.Pattern[str] = _compiler.compile(parsed, flags)
    return compiled


def _word(text: str, at: int) -> bool:
    return 0 <= at < len(text) and (text[at].isalnum() or text[at] == "_")


def _place(code: Any, flags: int) -> Place:
    if code in (codes.AT_BEGINNING, codes.AT_BEGINNING_STRING):
        if flags & re.MULTILINE and code is codes.AT_BEGINNING:
            return lambda text, at: at == 0 or text[at - 1] == "\n"
        return lambda text, at: at == 0
    if code in (codes.AT_END, codes.AT_END_STRING):
        if flags & re.MULTILINE and code is codes.AT_END:
            return lambda text, at: at == len(text) or text[at] == "\n"
        return lambda text, at: at == len(text)
    boundary = code is codes.AT_BOUNDARY
    return lambda text, at: (_word(text, at - 1) != _word(text, at)) == boundary


class RegexFullMatch(Mover):
    """RegexFullMatch; patterns that refer back or look around are refused, as by RE2."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.machine = _Machine(self.pattern)  # type: ignore[attr-defined]

    def _run(self, x: np.ndarray, *, pattern: str) -> tuple[Any, ...]:
        found = [self.machine.matches(str(text)) for text in x.reshape(-1)]
        return (np.array(found, bool).reshape(x.shape),)
