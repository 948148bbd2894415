"""The command line: argv to Hydra's own app for help and listings, else to a checked job and its run."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from pai_train import __version__
from pai_train.errors import EXIT_DONE, EXIT_REFUSED, Fault, Refused, did_you_mean
from pai_train.exits import ended
from pai_train.front import recipes
from pai_train.redact import guard, is_secret_name, redact, secret_shape

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Sequence
    from typing import Any

_PROGRAM = "python -m pai_train"


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command line, `sys.argv` when none is given, and returns its exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if argv is None:
        guard()
    return ended(lambda: _dispatch(arguments))


def _dispatch(arguments: list[str]) -> int:
    if "--version" in arguments:
        from hydra import __version__ as hydra_version

        sys.stdout.write(f"pai_train {__version__}, Hydra {hydra_version}\n")
        return EXIT_DONE
    _refuse_secret_flags(arguments)
    options = _parse(arguments)
    if options.shell_completion:
        from pai_train.front import completion

        sys.stdout.write(completion.serve(options.overrides))
        return EXIT_DONE
    if options.help or options.hydra_help or options.cfg or options.info:
        return _show(arguments, options)
    _refuse_unserved(options)
    return _run(options)


def _refuse_secret_flags(arguments: Sequence[str]) -> None:
    """Refuses flags that hold a secret, before any message quotes them."""
    faults = []
    for flag in (word for word in arguments if word.startswith("-")):
        name = flag.partition("=")[0]
        if secret_shape(flag) is not None or is_secret_name(name):
            todo = "leave it out; keys are taken from the environment, storage.profile or storage.role_arn"
            faults.append(Fault("holds a secret in plain text", where=f"command line {redact(name)}…", todo=todo))
    if faults:
        raise Refused(faults)


def _parse(arguments: list[str]) -> Namespace:
    from hydra._internal.utils import get_args_parser

    parser = get_args_parser()
    flags = [flag for action in parser._actions for flag in action.option_strings]

    def refuse(message: str) -> NoReturn:
        # A flag may have taken an override for its value, which the message then quotes.
        secrets = _secret_faults(arguments)
        if secrets:
            raise Refused(secrets)
        given = message.rpartition(": ")[2].split()[0]
        known = did_you_mean(given.split("=")[0], flags) if message.startswith("unrecognized") else None
        raise Refused([Fault(message, where="command line", todo=known or f"{_PROGRAM} --help lists what there is")])

    parser.error = refuse  # type: ignore[method-assign]
    return parser.parse_intermixed_args(arguments)


def _refuse_unserved(options: Namespace) -> None:
    faults = []
    if options.multirun:
        faults.append(
            Fault(
                "several runs in one command are not served",
                where="command line --multirun",
                todo="run one job per command",
            )
        )
    if options.resolve or options.package:
        flag = "--resolve" if options.resolve else "--package"
        faults.append(Fault("goes with --cfg", where=f"command line {flag}", todo=f"--cfg job {flag}"))
    faults += _exchanged(options)
    if options.experimental_rerun:
        faults.append(Fault("is not served", where="command line --experimental-rerun"))
    if faults:
        raise Refused([*faults, *_secret_faults(options.overrides)])


def _secret_faults(words: Sequence[str]) -> list[Fault]:
    from pai_train.front.overrides import clean

    return clean([word for word in words if not word.startswith("-")], "command line").faults


def _exchanged(options: Namespace) -> list[Fault]:
    if not options.config_path and not options.config_name:
        return []
    flag = "--config-path" if options.config_path else "--config-name"
    todo = "put recipes into ./recipes, or groups into a folder given by --config-dir"
    return [Fault("the keys and their defaults are not exchanged", where=f"command line {flag}", todo=todo)]


def _show(arguments: list[str], options: Namespace) -> int:
    """Lets Hydra's own app print what was asked for; it runs no job."""
    from hydra import main as hydra_main
    from hydra.errors import HydraException

    from pai_train.front import shown

    overrides = _overrides(options)
    faults = _exchanged(options)
    if options.info or (options.overrides and not options.cfg):
        faults += shown.secret_faults(overrides, "command line")
    if faults:
        raise Refused(faults)

    def look(text: str) -> None:
        # Composing once more, to know where a key comes from, costs as much again: only where there is cause.
        if options.cfg and (shown.may_hold_a_secret("\n".join([text, *overrides])) or sys.exc_info()[0] is not None):
            found = shown.secret_faults(overrides, "command line")
            if found:
                raise Refused(found)

    recipes.install()
    app = hydra_main(config_path=str(recipes.folder("conf")), config_name="config", version_base="1.3")(_no_job)
    given, sys.argv = sys.argv, [sys.argv[0], *arguments]
    try:
        with shown.redacted_output(look):
            app()
    except SystemExit as finished:
        return EXIT_REFUSED if finished.code else EXIT_DONE
    except (HydraException, ValueError) as error:
        raise Refused([Fault(str(error))]) from error
    finally:
        sys.argv = given
    return EXIT_DONE


def _no_job(config: Any) -> None:
    """Is what Hydra's app would run; the command line reaches `_run` instead."""


def _overrides(options: Namespace) -> list[str]:
    """Returns the overrides, with the folder of --config-dir as one of them."""
    overrides = list(options.overrides)
    if options.config_dir is not None:
        folder = Path(options.config_dir).absolute()
        if not folder.is_dir():
            raise Refused([Fault("there is no such folder", where=f"command line --config-dir {options.config_dir}")])
        overrides.append(f"hydra.searchpath=['file://{folder}']")
    return overrides


def _run(options: Namespace) -> int:
    from pai_train.front.composed import compose
    from pai_train.training.signals import interrupting

    with interrupting():
        composed = compose(None, _overrides(options), word="command line")
        from pai_train import resolver
    for name in composed.recipe.split("+") if composed.recipe is not None else ():
        for path in recipes.hidden(name):
            sys.stderr.write(f"recipe {name}: {composed.recipe_file} hides {path}\n")
    resolver.run(composed)
    return EXIT_DONE


if __name__ == "__main__":
    sys.exit(main())
