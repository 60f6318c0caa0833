"""The house rules for words, and the checker that counts where a text breaks one.

Usage: ``python tools/words.py [--root DIR] [--count | --json] [PATH ...]``. The exit code is 1 if
anything breaks a rule. The checker reads docstrings, string literals that are phrases (messages,
help, advice), comments, pages in Markdown, and the help of a Makefile. The comment `words: ok` in
the same lines exempts a text, for the rare right use.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from texts import Function, Role, Text, read_functions, read_texts

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

__all__ = ["LIMIT", "RULES", "Hit", "Survey", "check", "find_hits", "is_participle", "main"]

PATHS = (
    "src/**/*.py",
    "tools/**/*.py",
    "README.md",
    "SECURITY.md",
    "CHANGELOG.md",
    "docs/**/*.md",
    "Makefile",
)
"""What the rules are for."""
LIMIT = 3.0
"""The percentage of functions that a participle may name (rule 9)."""

ANY = frozenset(Role)
DOCSTRINGS = frozenset({Role.FUNCTION, Role.DOCSTRING})
FUNCTIONS = frozenset({Role.FUNCTION})
MESSAGES = frozenset({Role.MESSAGE})

_NOT_PARTICIPLES = (
    r"bed|bleed|breed|bring|building|cling|coding|embed|exceed|fling|feed|heading|heed|king|led"
    r"|meaning|need|ping|proceed|red|ring|sed|seed|setting|shed|sing|sling|speed|spring|sting"
    r"|string|succeed|swing|thing|warning|weed|wing|wring"
)
_IRREGULAR = (
    r"begun|bought|bound|broken|brought|built|caught|chosen|done|drawn|fed|forgotten|found|given"
    r"|gone|held|hidden|kept|known|left|lent|lost|made|meant|met|overwritten|paid|seen|sent|shown"
    r"|sold|spent|spoken|taken|taught|thought|thrown|told|torn|understood|won|written"
)
PARTICIPLE = rf"(?!(?:{_NOT_PARTICIPLES})\b)(?:[a-z]+(?:ed|ing)|(?:un)?(?:{_IRREGULAR}))\b"

RIGHT = re.compile(
    r"\b(?:IETF drafts?|Internet-Drafts?|Upload-Draft-Interop-Version|draft-ietf-[a-z-]+"
    r"|HTTP verb|imperative verb|stand-?alone|stand-in|stand out"
    r"|(?:are|is|was|were) no (?:better|different|doubt|longer|matter|more|other|worse)\b"
    r"|(?:are|is|was|were) no \w+er than|there (?:are|is|was|were) no|so many that)\b",
    re.IGNORECASE,
)
"""Right uses of words that a rule below forbids elsewhere."""


@dataclass(frozen=True, slots=True)
class Rule:
    """A pattern that must not occur, and what to write instead."""

    number: int
    pattern: str
    advice: str
    roles: frozenset[Role] = ANY
    is_first: bool = False
    """Whether only the first sentence counts."""

    def search(self, words: str) -> Iterator[tuple[int, str]]:
        """Yield the position and the words of each place that breaks the rule."""
        end = re.search(r"[.:!?](?= |$)", words) if self.is_first else None
        for found in re.finditer(self.pattern, words[: end and end.end()], re.IGNORECASE):
            wrong = found[0].lstrip(" .:;(")
            yield found.end() - len(wrong), wrong


RULES = (
    # 1: a docstring begins with what the function does.
    Rule(
        1,
        r"^(?:gives?|ha(?:s|ve)|lets?|permits?|says?|sees?|tells?)\b",
        "begin with what it does: Return, Yield, Store, Open, Check, Parse",
        DOCSTRINGS,
    ),
    Rule(
        1,
        r"^(?:X|what|which|who|whose|whoever|whatever|whether|how|when|where|why|an?|the|it|they"
        r"|this|that|these|those|there|all|any|anything|both|each|every|many|no|nobody|none|nothing"
        r"|not|one|several|some|somebody|two|if|then|while|however|as|at|after|because|before|by"
        r"|for|from|in|instead|of|on|only|or|since|so|than|to|under|until|up|with|without)\b",
        "begin with an imperative: Return, Yield, Store, Open, Check, Parse",
        FUNCTIONS,
    ),
    Rule(1, rf"^{PARTICIPLE}", "begin with an imperative, not with a participle", FUNCTIONS),
    # 2: the subject is a thing of the system.
    Rule(
        2,
        r"\b(?:nobody|somebody|anybody|everybody|no one|whoever|whomever|whatever)\b",
        "name the client, server, caller or upload",
    ),
    Rule(
        2,
        r"(?:^|[.;:(] |\b(?:as|before|how|if|than|that|what|when|where|while|why) )one"
        r" (?:can|could|does|knows|may|might|must|needs|sees|should|wants|will|would)\b",
        "name the client, server, caller or upload",
    ),
    Rule(2, r"\b(?:as|than|what|where) one has\b", "name the client, server, caller or upload"),
    # 3: the field's noun.
    Rule(3, r"\bwhat (?:is|was|it is) known (?:of|about)\b", "metadata"),
    Rule(3, r"\b(?:left-?overs?|what is left over)\b", "garbage"),
    Rule(3, r"\bdrafts?\b", "resumable upload, partial upload"),
    Rule(3, r"\b(?:in pieces|piece by piece|piecewise)\b", "resumable; in chunks"),
    Rule(
        3,
        r"\b(?:uploads?|uploading|sent|sends?|stored?|arrives?|goes|went) in parts\b",
        "multipart",
    ),
    Rule(3, r"\b(?:kinds?|sorts?) of (?:a |the )?storages?\b", "backend"),
    Rule(3, r"\bverbs?\b", "operation"),
    Rule(3, r"\bfill(?:s|ed) in\b", "implements"),
    Rule(3, r"\bhooks? of (?:\w+ )?storages?\b|\bstorage's hooks?\b", "backend method"),
    Rule(3, r"\bexamin(?:ations?|e[ds]?|ing)\b", "diagnosis, diagnose"),
    Rule(3, r"\bstrays\b", "unknown keys"),
    Rule(3, r"\bmangled\b", "damaged in copying"),
    Rule(3, r"\brefusals?\b", "error response"),
    Rule(3, r"\bat hand\b", "cached, available"),
    Rule(3, r"\bsign(?:s|ed|ing)? at once\b", "offline"),
    Rule(3, r"\b(?:S3|temporary|AWS) keys\b|\bkeys of the moment\b", "credentials"),
    Rule(3, r"\blinks? (?:of|by) the service\b", "service link"),
    # 4: the object has a name.
    Rule(4, r"^(?:it|they|this one|that one|another one)\b", "name the object", DOCSTRINGS),
    Rule(
        4,
        r"^\w+ (?:(?:after|at|by|for|from|in|of|off|on|out|to|up|with) )?(?:it|them)\b",
        "name the object",
        DOCSTRINGS,
    ),
    Rule(4, r"\b(?:another|that|this) one\b", "name the object", DOCSTRINGS, is_first=True),
    Rule(4, r"\b(?:another|this) one\b|^(?-i:It)\b", "name the object", MESSAGES),
    # 5: the negation is "not".
    Rule(5, r"\b(?:is|are|was|were) no\b(?! one\b)", 'write "is not a"'),
    Rule(5, r"\b(?:that|what|which|who) (?:is|are) (?-i:none)\b", 'write "is not a"'),
    # 6: active voice.
    Rule(
        6,
        r"\b(?:is|are|was|were|be|been|being)(?: not| never)?"
        r" (?:asked|left alone|said|told(?! apart\b)|(?:looked|waited) (?:after|at|for))\b",
        "use the active voice, cause before effect",
    ),
    Rule(
        6,
        r"\b(?:is|are|was|were)(?: not| never)? taken\b(?! (?:apart|from|into account|over)\b)",
        "use the active voice, cause before effect",
    ),
    # 7: loan translations.
    Rule(7, r"\banew\b", "again"),
    Rule(7, r"\bas (?:it|they) stands?\b", "unchanged"),
    Rule(7, r"(?<!as it )(?<!as they )\b(?:stands?|stood)\b", "is, lies, has, appears"),
    Rule(7, r"\bat last\b", "finally; leave it out"),
    Rule(7, r"\bin the end\b", "finally, afterwards"),
    Rule(7, r"\bby (?:itself|themselves)\b", "automatically, on its own"),
    Rule(7, r"\b(?:leav(?:es?|ing)|left) away\b", "omit"),
    Rule(7, r"\bpermit(?:s|ted|ting)? (?:\w+ ){0,3}to\b", "allow"),
    Rule(7, r"\b(?:has|have|had) not got\b|\b(?:has|have) (?:it|them) not\b", "does not have"),
    Rule(7, r"\bthere is nothing here\b", "not found"),
    Rule(7, r"\bfor want of\b", "without, for lack of"),
    Rule(7, r"(?:^|[.;:] )beside\b|\bbeside what\b", "besides, next to, compared with"),
    Rule(7, r"\blet(?:s|ting)? go of\b", "release, close"),
    Rule(7, r"\bsee(?:s|ing)? to (?:it|that)\b", "ensure"),
    Rule(7, r"\b(?:is|are|was|were) another(?=$|[.,;:)])", "differs, is different"),
)
NAMES = Rule(9, PARTICIPLE, "begin the name with an imperative")


@dataclass(frozen=True, slots=True)
class Hit:
    """A place that breaks a rule."""

    path: str
    line: int
    rule: int
    text: str
    advice: str

    def __str__(self) -> str:
        return f'{self.path}:{self.line}: rule {self.rule}: "{self.text}" \N{EN DASH} {self.advice}'


@dataclass(slots=True)
class Survey:
    """The hits in a checkout, and what was read for them."""

    hits: list[Hit] = field(default_factory=list)
    read: Counter[str] = field(default_factory=Counter)
    """The number of texts by role."""
    wrong: Counter[str] = field(default_factory=Counter)
    """The number of texts with a hit, by role."""
    functions: int = 0
    participles: list[Hit] = field(default_factory=list)

    @property
    def share(self) -> float:
        """The percentage of functions in src that a participle names; properties do not count."""
        return 100 * len(self.participles) / max(self.functions, 1)

    @property
    def failures(self) -> list[Hit]:
        """The hits that fail the check: participles count above the limit alone."""
        found = self.hits + (self.participles if self.share > LIMIT else [])
        return sorted(found, key=lambda hit: (hit.path, hit.line, hit.rule))

    @property
    def rules(self) -> dict[int, int]:
        """The number of hits of each rule."""
        counted = Counter(hit.rule for hit in self.hits)
        return {number: counted[number] for number in sorted({rule.number for rule in RULES})}

    @property
    def summary(self) -> str:
        """The texts and the names, in a line."""
        return (
            f"{self.read.total()} texts, {self.wrong.total()} with a hit; {len(self.participles)} "
            f"of {self.functions} functions named by a participle ({self.share:.1f} %)"
        )

    def as_dict(self) -> dict[str, object]:
        """Return the survey as JSON takes it."""
        return {
            "texts": {str(role): [self.read[role], self.wrong[role]] for role in Role},
            "rules": self.rules,
            "functions": self.functions,
            "participles": len(self.participles),
            "hits": [asdict(hit) for hit in self.failures],
        }


def find_hits(text: Text) -> list[Hit]:
    """Return the places of a text that break a rule."""
    words = RIGHT.sub(lambda found: "_" * len(found[0]), text.words)
    return [
        Hit(text.path, text.get_line(position), rule.number, wrong, rule.advice)
        for rule in RULES
        if text.role in rule.roles
        for position, wrong in rule.search(words)
    ]


def is_participle(name: str) -> bool:
    """Check whether the first word of a function's name is a participle."""
    return bool(re.match(PARTICIPLE, name.strip("_").partition("_")[0]))


def check(root: Path, paths: Sequence[str] = PATHS) -> Survey:
    """Return the hits in files, folders and patterns of files below a root."""
    found = Survey()
    for path in _find_files(root, paths):
        name = path.relative_to(root).as_posix()
        for text in read_texts(path, name):
            wrong = find_hits(text)
            found.hits += wrong
            found.read[text.role] += 1
            found.wrong[text.role] += bool(wrong)
        if path.suffix == ".py" and name.startswith("src/"):
            known = [each for each in read_functions(path, name) if not each.is_statement]
            found.functions += len(known)
            found.participles += [_make_hit(each) for each in known if is_participle(each.name)]
    return found


def _make_hit(function: Function) -> Hit:
    return Hit(function.path, function.line, NAMES.number, function.name, NAMES.advice)


def _find_files(root: Path, paths: Iterable[str]) -> Iterator[Path]:
    for path in (found for each in paths for found in sorted(root.glob(each.rstrip("/")))):
        below = path.rglob("*") if path.is_dir() else [path]
        yield from sorted(each for each in below if each.suffix in {".md", ".py"} or each == path)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the hits of a checkout; return the exit code."""
    parser = argparse.ArgumentParser(description="Check texts against the house rules for words.")
    parser.add_argument(
        "paths", nargs="*", metavar="PATH", help="file, folder or glob pattern below the root"
    )
    parser.add_argument("--root", type=Path, default=Path(__file__).parents[1], help="checkout")
    parser.add_argument("--count", action="store_true", help="print the figures of each rule only")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args(arguments)
    found = check(options.root.resolve(), options.paths or PATHS)
    if not (found.read or found.functions):
        parser.error("nothing to check: PATH must be relative to the root of the checkout")
    if options.json:
        print(json.dumps(found.as_dict(), indent=2))
    elif options.count:
        print(*(f"rule {number}: {count}" for number, count in found.rules.items()), sep="\n")
    else:
        print(*found.failures, sep="\n")
    if not options.json:
        print(found.summary)
    return bool(found.failures)


if __name__ == "__main__":
    sys.exit(main())
