"""Functions become a command line: what they declare is what is read, told, and completed."""

import enum
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import pytest

from libbarto.command_line import Argument, BadParameter, Command, Context, Exit, Option, Program


class Colour(enum.StrEnum):
    """A choice."""

    RED = "red"
    BLUE = "blue"


def described(function: Callable[..., object]) -> str:
    """The help of a program whose only command is this function."""
    program = Program("tool", help="Do things.")
    program.command("it")(function)
    command = program.group.commands["it"]
    return command.get_help(
        Context(command, info_name="tool it", help_option_names=["-h", "--help"])
    )


def paint(
    context: Context,
    file: Annotated[Path, Argument("FILE", help="What to paint.")],
    more: Annotated[list[str] | None, Argument("MORE", help="And these.")] = None,
    colour: Annotated[Colour, Option("-c", "--colour", help="Which.")] = Colour.RED,
    coats: Annotated[int, Option(metavar="N", min=1, max=9, help="How many.")] = 2,
    dry: Annotated[bool, Option("--dry", help="Only look.")] = False,
    tag: Annotated[list[str] | None, Option(metavar="TAG", help="May come again.")] = None,
    loud: Annotated[int, Option("-v", count=True, help="Say more.")] = 0,
    share: Annotated[float | None, Option(help="How much.")] = None,
    old: Annotated[bool, Option("--old", hidden=True, help="Of old.")] = False,
) -> Any:
    """Paint a file, and perhaps others with it, in a colour.

    Examples:
        tool paint a.txt --colour blue
        tool paint a.txt b.txt
    """
    return file, more, colour, coats, dry, tag, loud, share, old, context.info_name


@pytest.fixture
def seen() -> list[Any]:
    return []


@pytest.fixture
def program(seen: list[Any]) -> Program:
    """A program that notes what its commands get."""
    program = Program("tool", help="Do things.", epilog="That is all.")

    @program.callback()
    def before(
        context: Context,
        version: Annotated[
            bool, Option("--version", help="Say it.", is_eager=True, callback=seen.append)
        ] = False,
    ) -> None:
        context.obj = "before"

    @program.command("paint")
    def noted(
        context: Context,
        file: Annotated[Path, Argument("FILE", help="What to paint.")],
        more: Annotated[list[str] | None, Argument("MORE", help="And these.")] = None,
        colour: Annotated[Colour, Option("-c", "--colour", help="Which.")] = Colour.RED,
        coats: Annotated[int, Option(metavar="N", min=1, max=9, help="How many.")] = 2,
        tag: Annotated[list[str] | None, Option(metavar="TAG", help="May come again.")] = None,
        loud: Annotated[int, Option("-v", count=True, help="Say more.")] = 0,
    ) -> None:
        seen.append((file, more, colour, coats, tag, loud, context.obj))

    @program.command()
    def end_badly() -> None:
        raise Exit(4)

    @program.command()
    def refuse(context: Context) -> None:
        raise BadParameter("no")

    @program.command()
    def interrupt() -> int:
        raise KeyboardInterrupt

    below = Program("below", help="More of them.")

    @below.command("count")
    def count(number: Annotated[int, Argument("NUMBER", help="What to end with.")]) -> int:
        """Count."""
        return number

    program.add(below)
    return program


def test_what_is_given_arrives_as_it_was_declared(program: Program, seen: list[Any]) -> None:
    words = ["paint", "a", "b", "c", "--colour", "blue", "--coats", "3", "-vv"]
    assert program([*words, "--tag", "x", "--tag", "y"], program="tool") == 0
    assert seen[-1] == (Path("a"), ["b", "c"], Colour.BLUE, 3, ["x", "y"], 2, "before")


def test_what_is_left_out_is_the_default(program: Program, seen: list[Any]) -> None:
    assert program(["paint", "a"], program="tool") == 0
    assert seen[-1] == (Path("a"), None, Colour.RED, 2, None, 0, "before")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["pain"], "tool: No such command 'pain'. Did you mean 'paint'?\nTry 'tool --help'.\n"),
        (["paint"], "tool: Missing argument 'FILE'.\nTry 'tool paint --help'.\n"),
        (["paint", "a", "-c", "x"], "'x' is not one of 'red', 'blue'."),
        (["paint", "a", "--coats", "x"], "'x' is not a valid whole number."),
        (["paint", "a", "--coats", "10"], "10 is not in the range 1<=x<=9."),
        (["below", "count", "x"], "'x' is not a valid whole number."),
        (["refuse"], "tool: Invalid value: no\n"),
    ],
)
def test_a_mistake_is_told_and_ends_with_2(
    program: Program, words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert program(words, program="tool") == 2
    said = capsys.readouterr()
    assert message in said.err
    assert said.out == ""


def test_without_a_word_the_help_is_told(
    program: Program, capsys: pytest.CaptureFixture[str]
) -> None:
    assert program([], program="tool") == 2
    said = capsys.readouterr().err
    assert said.startswith("Usage: tool [OPTIONS] COMMAND [ARGS]...\n\n  Do things.\n")
    assert said.endswith("  That is all.\n")
    listed = [line.split()[0] for line in said.partition("Commands:\n")[2].splitlines() if line]
    assert listed[:5] == ["paint", "end-badly", "refuse", "interrupt", "below"]


def test_the_exit_code_is_the_commands(program: Program) -> None:
    assert program(["end-badly"], program="tool") == 4
    assert program(["below", "count", "7"], program="tool") == 7
    with pytest.raises(KeyboardInterrupt):
        program(["interrupt"], program="tool")


def test_the_help_tells_arguments_options_and_examples() -> None:
    assert (
        described(paint)
        == """\
Usage: tool it [OPTIONS] FILE [MORE…]

  Paint a file, and perhaps others with it, in a colour.

Arguments:
  FILE     What to paint.
  [MORE…]  And these.

Options:
  -c, --colour [red|blue]  Which.  [default: red]
  --coats N                How many.  [default: 2; 1<=x<=9]
  --dry                    Only look.
  --tag TAG                May come again.
  -v                       Say more.
  --share FLOAT            How much.
  -h, --help               Show this message and exit.

Examples:
  tool paint a.txt --colour blue
  tool paint a.txt b.txt"""
    )


def test_only_the_command_that_is_asked_for_is_made(program: Program) -> None:
    program(["below", "count", "0"], program="tool")
    made = [it.made for it in program._commands.values() if not isinstance(it, Program)]
    assert made == [None] * 4
    assert isinstance(program.group.commands["paint"], Command)
    assert program.group.commands["paint"] is program.group.commands["paint"]
    assert len(program.group.commands) == 5
    with pytest.raises(TypeError):
        program.group.commands["x"] = program.group.commands["paint"]
    with pytest.raises(TypeError):
        del program.group.commands["paint"]


def test_a_program_that_runs_by_itself_has_the_help_of_that() -> None:
    program = Program("tool", help="Do things.")
    ran = []

    @program.callback(invoke_without_command=True)
    def alone(context: Context) -> None:
        """Run in the foreground.

        Example: tool -v
        """
        ran.append(context.invoked_subcommand)

    assert program([], program="tool") == 0
    assert ran == [None]
    assert program.group.help == "Do things.\n\nRun in the foreground."
    assert program.group.examples == ("tool -v",)
    shown = program.group.get_help(Context(program.group, info_name="tool"))
    assert "Example:\n  tool -v" in shown


def test_a_parameter_that_says_nothing_is_a_mistake_of_ours() -> None:
    def bare(name: str) -> None: ...

    def odd(name: Annotated[complex, Option(help="?")] = 1j) -> None: ...

    with pytest.raises(TypeError, match="how is name given"):
        described(bare)
    with pytest.raises(TypeError, match="cannot be"):
        described(odd)


def test_live_names_are_found_by_the_metavar_and_quietly() -> None:
    def colours(context: Context, begun: str) -> list[tuple[str, str]]:
        assert context.find_root().params["config"] == "x"
        return [("red", "a warm one"), ("green", ""), ("grey", "")]

    program = Program("tool", help="Do things.", complete={"COLOUR": colours})
    group = Program("group", help="Below.")
    program.add(group)

    @program.callback()
    def before(
        config: Annotated[str | None, Option("-c", help="Where.", callback=print)] = None,
    ) -> None: ...

    @group.command()
    def mix(
        one: Annotated[str, Argument("COLOUR", help="This.")],
        other: Annotated[str | None, Option("--with", metavar="COLOUR", help="That.")] = None,
    ) -> None: ...

    from click.shell_completion import BashComplete

    completion = BashComplete(program.group, {}, "tool", "_TOOL_COMPLETE")

    def completed(words: list[str], begun: str) -> list[str]:
        return [item.value for item in completion.get_completions(words, begun)]

    assert completed(["-c", "x", "group", "mix"], "gr") == ["green", "grey"]
    assert completed(["-c", "x", "group", "mix", "--with"], "r") == ["red"]
    assert completed(["-c", "x", "group"], "m") == ["mix"]
