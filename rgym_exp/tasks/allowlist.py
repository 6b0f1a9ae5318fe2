"""Which of reasoning-gym's datasets a swarm may use.

Strangers' completions go into a dataset's scorer, and several scorers evaluate what they are given. A dataset is
allowed only when its scorer provably can't, and when every peer can rebuild its problems:

- ``CLEAN``: nothing that the scorer reaches evaluates code, opens files or starts processes.
- ``LITERAL``: the same, but for calls of ``eval``; the scoring worker replaces ``eval`` by a parser of literals
  in every module of reasoning-gym before the first answer arrives.

``tests/unit/tasks/test_allowlist.py`` proves both by reading the scorers' source, and shows that each dataset's
problems are the same in every process and survive the trip to the worker. Every other dataset of the version that
the proof was made for is in ``LEFT_OUT`` with the reason.
"""

from __future__ import annotations

PROVEN_VERSION = "0.1.25"
"""The version of reasoning-gym whose source was read."""

_CLEAN = """
    ab aiw arc_1d base_conversion basic_arithmetic bf binary_alternation caesar_cipher calendar_arithmetic chain_sum
    circuit_logic coin_flip color_cube_rotation complex_arithmetic count_bits count_primes course_schedule cryptarithm
    decimal_arithmetic decimal_chain_sum dice emoji_mystery family_relationships figlet_font fraction_simplification
    game_of_life gcd group_anagrams jugs kakurasu knights_knaves largest_island lcm leg_counting
    letter_counting letter_jumble mahjong_puzzle manipulate_matrix maze mini_sudoku modulo_grid needle_haystack
    number_filtering number_format number_sequence palindrome_generation palindrome_partitioning path_star
    power_function prime_factorization products propositional_logic rectangle_count rotate_matrix rotten_oranges
    self_reference sentence_reordering shortest_path simple_equations simple_geometry spell_backward
    string_manipulation string_splitting string_synthesis survo syllogism time_intervals tower_of_hanoi tsumego
    word_sequence_reversal word_sorting
"""
_LITERAL = "binary_matrix n_queens number_sorting spiral_matrix string_insertion"

CLEAN: frozenset[str] = frozenset(_CLEAN.split())
"""Datasets whose scorer reaches nothing that can evaluate code."""

LITERAL: frozenset[str] = frozenset(_LITERAL.split())
"""Datasets whose scorer calls ``eval`` on literals; safe only where ``eval`` is replaced."""

ALLOWED: frozenset[str] = CLEAN | LITERAL

_EVALUATES = "its scorer evaluates the answer with sympy"
_NUMPY = "its scorer hands the answer to a library whose source is not covered by the proof"
_DIFFERS = "its problems differ from process to process"
_SLOW = "making one of its problems may take a large part of a second"
_AHEAD = "it prepares all its problems in advance, and a swarm draws from a range too large for that"
_NO_ANSWER = "its problems carry no answer that its scorer could be checked against"
_NOT_JSON = "its scorer needs values that JSON can't carry to the scoring worker"

LEFT_OUT: dict[str, str] = {
    "acre": _AHEAD,
    "advanced_geometry": _NUMPY,
    "arc_agi": _NOT_JSON,
    "bitwise_arithmetic": "its scorer evaluates the problem's expression, which is not a literal",
    "boxnet": _NUMPY,
    "codeio": "it executes code",
    "composite": "a tasks file is a mix already",
    "countdown": _EVALUATES,
    "futoshiki": _SLOW,
    "game_of_life_halting": "its scorer takes any text for the answer True",
    "graph_color": _NO_ANSWER,
    "gsm_symbolic": _AHEAD,
    "intermediate_integration": _EVALUATES,
    "isomorphic_strings": _DIFFERS,
    "knight_swap": _DIFFERS,
    "list_functions": _AHEAD,
    "polynomial_equations": _SLOW,
    "polynomial_multiplication": _EVALUATES,
    "pool_matrix": _NUMPY,
    "puzzle24": _EVALUATES,
    "quantum_lock": _SLOW,
    "ransom_note": _DIFFERS,
    "rearc": _NOT_JSON,
    "rubiks_cube": _NUMPY,
    "rush_hour": _NO_ANSWER,
    "simple_integration": _EVALUATES,
    "sokoban": _NUMPY,
    "sudoku": _SLOW,
    "word_ladder": _AHEAD,
    "zebra_puzzles": _SLOW,
}
"""Every other dataset of the proven version, with the reason, as the end of a sentence."""
