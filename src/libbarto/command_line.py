"""How does a program's command line come to be? From functions: a command is a function, and its
parameters are the options and arguments.

What an option is called and how it is told stands in the parameter's annotation (`Option`,
`Argument`), what it takes in its type. click reads, helps and completes. A command is made when it
is asked for, so that one of many starts as quickly as one of few.

    program = Program("tool", help="Do things.")

    @program.command()
    def greet(context: Context, name: Annotated[str, Argument("NAME", help="Whom.")]) -> None:
        ...
"""

from __future__ import annotations

import enum
import inspect
import sys
import types
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Final, TypeAlias, TypeVar

import click
from click import BadParameter, ClickException, Context, echo
from click.exceptions import Exit, NoArgsIsHelpError
from click.shell_completion import CompletionItem

__all__ = [
    "Argument",
    "BadParameter",
    "Command",
    "Context",
    "Exit",
    "Group",
    "Names",
    "Option",
    "Program",
    "echo",
]

USAGE: Final = 2
"""The exit code of a command line that cannot be understood (DESIGN section 9)."""
HELP_FLAGS: Final = ("-h", "--help")
EXAMPLES: Final = "Example"
"""A paragraph of a docstring that begins so has commands, each in a line or behind a semicolon."""

Function: TypeAlias = Callable[..., object]
Names: TypeAlias = Callable[[Context, str], Iterable[tuple[str, str]]]
"""Names to complete what was begun, each with a few words on it or none; the context has what was
said so far."""

F = TypeVar("F", bound=Function)


class Option:
    """How a parameter is given by name. Without `flags` it is called `--parameter-name`.

    A bool is a switch; a list may be given more than once; `count` counts how often. A `callback`
    gets the value at once, with `is_eager` before all others.
    """

    def __init__(
        self,
        *flags: str,
        help: str,
        metavar: str | None = None,
        min: int | None = None,
        max: int | None = None,
        count: bool = False,
        hidden: bool = False,
        callback: Callable[[Any], None] | None = None,
        is_eager: bool = False,
    ) -> None:
        self.flags = flags
        self.help = help
        self.metavar = metavar
        self.min, self.max = min, max
        self.count = count
        self.hidden = hidden
        self.callback = callback
        self.is_eager = is_eager


class Argument:
    """How a parameter is given by its place; a list takes all that is left."""

    def __init__(self, metavar: str, *, help: str) -> None:
        self.metavar = metavar
        self.help = help


@dataclass(slots=True)
class Declared:
    """A function that is a command, not made into one yet."""

    function: Function
    hidden: bool = False
    made: click.Command | None = field(default=None, repr=False)


class Program:
    """A program, or a group of its commands. Called with arguments, it does what they say.

    `complete` has, by the metavar of options and arguments, what finds live names.
    """

    def __init__(
        self,
        name: str,
        *,
        help: str,
        epilog: str = "",
        complete: Mapping[str, Names] | None = None,
    ) -> None:
        self.name = name
        self.help = help
        self.epilog = epilog
        self.complete = dict(complete or {})
        self._callback: Function | None = None
        self._alone = False
        self._commands: dict[str, Declared | Program] = {}
        self._kinds: dict[str, list[str]] = {}
        self._group: Group | None = None

    def command(self, name: str | None = None, *, hidden: bool = False) -> Callable[[F], F]:
        """Make a function the command `name`; left out, its own name, with hyphens."""

        def declare(function: F) -> F:
            called = function.__name__.strip("_").replace("_", "-") if name is None else name
            self._commands[called] = Declared(function, hidden)
            return function

        return declare

    def callback(self, *, invoke_without_command: bool = False) -> Callable[[F], F]:
        """Make a function what is done with the options before the command."""

        def declare(function: F) -> F:
            self._callback, self._alone = function, invoke_without_command
            return function

        return declare

    def add(self, group: Program) -> None:
        """Have the commands of `group` behind its name."""
        self._commands[group.name] = group

    def take(self, room: Program) -> None:
        """Have the commands of `room` as one's own, listed below its help."""
        self._commands.update(room._commands)
        self._kinds[room.help] = list(room._commands)

    @property
    def group(self) -> Group:
        """What click knows this as."""
        if self._group is None:
            parameters, call = (
                ([], None) if self._callback is None else _read(self._callback, self.complete)
            )
            text, examples = _split(inspect.getdoc(self._callback) or "" if self._alone else "")
            self._group = Group(
                self.name,
                commands=_Commands(self),
                params=parameters,
                callback=call,
                help="\n\n".join(filter(None, (self.help, text))),
                epilog=self.epilog or None,
                invoke_without_command=self._alone,
                no_args_is_help=not self._alone,
                context_settings={"help_option_names": list(HELP_FLAGS)},
                examples=examples,
                kinds=self._kinds,
            )
        return self._group

    def __call__(self, arguments: Sequence[str] | None = None, *, program: str) -> int:
        """Do what `arguments` say (the process's own, if None), and return the exit code.

        A mistake in them is told on standard error, and the code is 2. Raises `KeyboardInterrupt`,
        and what commands raise.
        """
        given = None if arguments is None else list(arguments)
        try:
            # By whatever name it is called: a shell asks by one variable.
            variable = f"_{self.name.replace('-', '_').upper()}_COMPLETE"
            ended = self.group.main(
                given, prog_name=program, complete_var=variable, standalone_mode=False
            )
        except NoArgsIsHelpError as error:
            sys.stderr.write(f"{error.format_message()}\n")
            return USAGE
        except ClickException as error:
            where = getattr(getattr(error, "ctx", None), "command_path", program)
            sys.stderr.write(f"{program}: {error.format_message()}\nTry '{where} --help'.\n")
            return USAGE
        except click.Abort:
            raise KeyboardInterrupt from None
        return ended if isinstance(ended, int) else 0

    def _made(self, name: str) -> click.Command:
        """The command `name`, made now if it was not asked for before."""
        declared = self._commands[name]
        if isinstance(declared, Program):
            declared.complete = {**self.complete, **declared.complete}
            return declared.group
        if declared.made is None:
            parameters, call = _read(declared.function, self.complete)
            text, examples = _split(inspect.getdoc(declared.function) or "")
            declared.made = Command(
                name,
                params=parameters,
                callback=call,
                help=text,
                hidden=declared.hidden,
                context_settings={"help_option_names": list(HELP_FLAGS)},
                examples=examples,
            )
        return declared.made


class _Commands(MutableMapping[str, click.Command]):
    """The commands of a program by name, each made when it is looked at."""

    def __init__(self, program: Program) -> None:
        self._program = program

    def __getitem__(self, name: str) -> click.Command:
        return self._program._made(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._program._commands)

    def __len__(self) -> int:
        return len(self._program._commands)

    def __contains__(self, name: object) -> bool:
        return name in self._program._commands

    def __setitem__(self, name: str, command: click.Command) -> None:
        raise TypeError("commands are declared as functions")

    def __delitem__(self, name: str) -> None:
        raise TypeError("commands are declared as functions")


class _WithExamples(click.Command):
    """What commands and groups share: `examples` of how they are called."""

    def __init__(self, name: str, *, examples: Sequence[str] = (), **more: Any) -> None:
        super().__init__(name, **more)
        self.examples = tuple(examples)

    def format_epilog(self, ctx: Context, formatter: click.HelpFormatter) -> None:
        """The examples, each in its line whatever the width, then what else is to be said."""
        if self.examples:
            with formatter.section("Examples" if len(self.examples) > 1 else EXAMPLES):
                for example in self.examples:
                    formatter.write(f"{' ' * formatter.current_indent}{example}\n")
        super().format_epilog(ctx, formatter)


class Command(_WithExamples):
    """A command."""

    def format_options(self, ctx: Context, formatter: click.HelpFormatter) -> None:
        """Arguments, then options."""
        _write_parameters(self, ctx, formatter)


class Group(_WithExamples, click.Group):
    """A group of commands, listed in the order in which they are declared, and by `kinds` of them:
    names below what they have in common."""

    def __init__(
        self, name: str, *, kinds: Mapping[str, Sequence[str]] | None = None, **more: Any
    ) -> None:
        super().__init__(name, **more)
        self.kinds = dict(kinds or {})

    def format_commands(self, ctx: Context, formatter: click.HelpFormatter) -> None:
        """A list for each kind, and one of those that are of none."""
        named = {name for names in self.kinds.values() for name in names}
        rest = [name for name in self.commands if name not in named]
        for kind, names in (*self.kinds.items(), ("Also" if self.kinds else "Commands", rest)):
            shown = [self.commands[name] for name in names if not self.commands[name].hidden]
            width = formatter.width - 6 - max((len(str(it.name)) for it in shown), default=0)
            if shown:
                with formatter.section(kind):
                    formatter.write_dl(
                        [(str(it.name), brief(it.help or "", width)) for it in shown]
                    )

    def list_commands(self, ctx: Context) -> list[str]:
        """The names of the commands, as declared."""
        return list(self.commands)


def brief(text: str, width: int) -> str:
    """The first sentence of a help, or as much of it as says something and has room.

    >>> brief("Show the history: what ran when, and what did not. More.", 80)
    'Show the history: what ran when, and what did not.'
    >>> brief("Show the history: what ran when, and what did not. More.", 40)
    'Show the history.'
    """
    sentence = " ".join(text.partition("\n\n")[0].split()).partition(". ")[0].rstrip(".")
    if len(sentence) + 1 <= width:
        return f"{sentence}."
    for marks in ((": ", "; "), (", ",)):
        end = max(sentence.rfind(mark, 0, width) for mark in marks)
        if end > 0:
            return f"{sentence[:end]}."
    return f"{sentence[: width - 1]}…"


def _write_parameters(command: click.Command, ctx: Context, formatter: click.HelpFormatter) -> None:
    for kind in ("argument", "option"):
        told = [it for it in command.get_params(ctx) if it.param_type_name == kind]
        records = [record for it in told if (record := it.get_help_record(ctx)) is not None]
        if records:
            with formatter.section(f"{kind.capitalize()}s"):
                formatter.write_dl(records)


def _split(text: str) -> tuple[str, list[str]]:
    """A docstring without its examples, and these.

    >>> _split("Do it.\\n\\nExample: tool do it")
    ('Do it.', ['tool do it'])
    >>> _split("Do it.\\n\\nExamples:\\n    tool do it\\n    tool do that\\n\\nMore.")
    ('Do it.\\n\\nMore.', ['tool do it', 'tool do that'])
    """
    kept: list[str] = []
    examples: list[str] = []
    for paragraph in text.split("\n\n"):
        head, colon, rest = paragraph.partition(":")
        if not colon or head not in {EXAMPLES, f"{EXAMPLES}s"}:
            kept.append(paragraph)
        elif "\n" in rest.lstrip(" ") and not rest.lstrip(" ").startswith("\n"):
            examples += [" ".join(part.split()) for part in rest.split(";")]
        else:
            lines = rest.split("\n")
            examples += [part.strip() for line in lines for part in line.split(";") if part.strip()]
    return "\n\n".join(kept).strip(), examples


# -- parameters -----------------------------------------------------------------------------------


def _read(
    function: Function, complete: Mapping[str, Names]
) -> tuple[list[click.Parameter], Callable[..., object]]:
    """The parameters that a function declares, and what calls it with their values."""
    hints = typing.get_type_hints(function, include_extras=True)
    parameters: list[click.Parameter] = []
    lists: dict[str, object] = {}
    with_context = False
    for name, parameter in inspect.signature(function).parameters.items():
        annotation = hints[name]
        if annotation is Context:
            with_context = True
            continue
        if typing.get_origin(annotation) is not Annotated:
            raise TypeError(f"{function.__name__}: how is {name} given? Annotate it")
        declared, *metadata = typing.get_args(annotation)
        said = next(it for it in metadata if isinstance(it, Option | Argument))
        default = parameter.default
        plain, several = _plain(declared)
        if several:
            lists[name] = None if default is parameter.empty else default
        parameters.append(_parameter(name, said, plain, several, default, complete))

    def call(**values: Any) -> object:
        for name, empty in lists.items():
            values[name] = list(values[name]) or empty
        if with_context:
            return function(click.get_current_context(), **values)
        return function(**values)

    return parameters, call


def _plain(annotation: object) -> tuple[object, bool]:
    """A type without `| None`, and whether there may be several of it."""
    if typing.get_origin(annotation) in {typing.Union, types.UnionType}:
        kinds = [it for it in typing.get_args(annotation) if it is not type(None)]
        (annotation,) = kinds
    if typing.get_origin(annotation) is list:
        (annotation,) = typing.get_args(annotation)
        return annotation, True
    return annotation, False


def _parameter(
    name: str,
    said: Option | Argument,
    plain: object,
    several: bool,
    default: object,
    complete: Mapping[str, Names],
) -> click.Parameter:
    required = default is inspect.Parameter.empty
    given: dict[str, Any] = {}
    if not required and not several:
        given["default"] = default.value if isinstance(default, enum.Enum) else default
    names = complete.get(said.metavar or "")
    if names is not None:
        given["shell_complete"] = _completer(names)
    if isinstance(said, Argument):
        return _Argument(
            [name],
            help=said.help,
            metavar=said.metavar,
            type=_type(plain, None, None),
            required=required,
            nargs=-1 if several else 1,
            **given,
        )
    flags = said.flags or (f"--{name.replace('_', '-')}",)
    if said.callback is not None:
        given["callback"] = _at_once(said.callback)
    if plain is bool:
        given["is_flag"] = True
    elif said.count:
        given["count"] = True
    else:
        given["type"] = _type(plain, said.min, said.max)
        given["show_default"] = default not in (None, inspect.Parameter.empty, "", False)
    return click.Option(
        [*flags, name],
        help=said.help,
        metavar=said.metavar,
        required=required,
        multiple=several,
        hidden=said.hidden,
        is_eager=said.is_eager,
        **given,
    )


def _at_once(callback: Callable[[Any], None]) -> Callable[[Context, click.Parameter, Any], Any]:
    def called(context: Context, parameter: click.Parameter, value: Any) -> Any:
        if not context.resilient_parsing:  # completion only looks
            callback(value)
        return value

    return called


def _completer(names: Names) -> Callable[[Context, click.Parameter, str], list[CompletionItem]]:
    def found(context: Context, parameter: click.Parameter, begun: str) -> list[CompletionItem]:
        pairs = [pair for pair in names(context, begun) if pair[0].startswith(begun)]
        return [CompletionItem(name, help=about or None) for name, about in pairs]

    return found


class _Argument(click.Argument):
    """An argument that is told in the help as it is written; click names only its metavar."""

    def __init__(self, declared: Sequence[str], *, help: str, **more: Any) -> None:
        super().__init__(declared, **more)
        self.told = help

    def make_metavar(self, ctx: Context) -> str:
        """In brackets where it may be left out."""
        name = f"{self.metavar}…" if self.nargs == -1 else str(self.metavar)
        return name if self.required else f"[{name}]"

    def get_help_record(self, ctx: Context) -> tuple[str, str]:
        """Its line in the help."""
        return self.make_metavar(ctx), self.told


class _Member(click.Choice[str]):
    """One of the values of an enumeration."""

    def __init__(self, members: type[enum.Enum]) -> None:
        super().__init__([str(member.value) for member in members])
        self.members = members

    def convert(self, value: Any, param: click.Parameter | None, ctx: Context | None) -> Any:
        """The member that a text names."""
        if isinstance(value, self.members):
            return value
        return self.members(super().convert(value, param, ctx))


class _Number(click.IntRange):
    """A whole number, perhaps within bounds."""

    name = "whole number"


def _type(plain: object, low: int | None, high: int | None) -> click.ParamType[Any]:
    """What click reads a type as."""
    if plain is Path:
        return click.Path(path_type=Path)
    if plain is int:
        return _Number(low, high)
    if plain is float:
        return click.FLOAT
    if isinstance(plain, type) and issubclass(plain, enum.Enum):
        return _Member(plain)
    if plain is not str:
        raise TypeError(f"a parameter cannot be {plain}")
    return click.STRING
