"""The scripts that teach a shell to complete our command; each asks the command itself for what may follow."""

from __future__ import annotations

import re

from pai_train.errors import Fault, Refused, did_you_mean

PROGRAM = "pai-train"

# A candidate that a space follows is printed with it: `compopt` would be shorter, but macOS has a bash without.
_BASH = """\
# Completes {program} in bash: eval "$({program} -sc install=bash)"
if [ -n "${{ZSH_VERSION-}}" ]; then
    eval "$({program} -sc install=zsh)"
else
    {function}() {{
        local line
        COMPREPLY=()
        while IFS= read -r line; do
            COMPREPLY+=("$line")
        done < <(COMP_LINE="$COMP_LINE" COMP_POINT="$COMP_POINT" COMP_WORDBREAKS="$COMP_WORDBREAKS" \\
            "${{1/#\\~\\//$HOME/}}" -sc query=bash 2> /dev/null)
    }}
    complete -o default -o nospace -F {function} {program}
fi
"""

_ZSH = """\
# Completes {program} in zsh: eval "$({program} -sc install=zsh)"
{function}() {{
    local line
    local -a whole begun told_whole told_begun
    local begin="${{(j: :)words[1,CURRENT-1]}} $PREFIX"
    for line in ${{(f)"$(COMP_LINE="$begin" ${{~words[1]}} -sc query=zsh 2> /dev/null)"}}; do
        if [[ ${{line%%$'\\t'*}} == *[=./] ]]; then
            begun+=("${{line%%$'\\t'*}}")
            told_begun+=("${{line/$'\\t'/  -- }}")
        else
            whole+=("${{line%%$'\\t'*}}")
            told_whole+=("${{line/$'\\t'/  -- }}")
        fi
    done
    if (( $#whole + $#begun )); then
        (( $#whole )) && compadd -Q -l -d told_whole -a -- whole
        (( $#begun )) && compadd -Q -S '' -l -d told_begun -a -- begun
    else
        compset -P '*='
        _files
    fi
}}
if (( ! $+functions[compdef] )); then
    autoload -Uz compinit && compinit -i
fi
compdef {function} {program}
"""

_FISH = """\
# Completes {program} in fish: {program} -sc install=fish | source
function {function}
    set -lx COMP_LINE (commandline -cp)
    set -l program (string match -v -r '^\\w+=' -- (commandline -opc))[1]
    set program (string replace -r '^~/' "$HOME/" -- $program)
    set -l found ($program -sc query=fish 2> /dev/null)
    if test (count $found) -gt 0
        string join \\n -- $found
    else if set -l parts (string split -m 1 = -- (commandline -ct)); and test (count $parts) -eq 2
        string join \\n -- "$parts[1]="(__fish_complete_path $parts[2])
    else
        __fish_complete_path (commandline -ct)
    end
end
complete -c {program} -e
complete -c {program} -f -a '({function})'
"""

_INSTALL = {"bash": _BASH, "fish": _FISH, "zsh": _ZSH}
_UNINSTALL = {
    "bash": "complete -r {program} 2> /dev/null; unset -f {function}\n",
    "fish": "complete -c {program} -e; functions -e {function}\n",
    "zsh": "compdef -d {program}; unfunction {function}\n",
}
COMMANDS = ("install", "uninstall")
SHELLS = sorted(_INSTALL)


def script(command: str, shell: str, program: str) -> str:
    """Returns what a shell is to run.

    Args:
        command: `install` or `uninstall`.
        shell: One of SHELLS.
        program: How we were called; a name that is no command's stands for `pai-train`.
    """
    name = program if re.fullmatch(r"[A-Za-z][\w.-]*", program) and not program.endswith(".py") else PROGRAM
    function = "_" + re.sub(r"\W", "_", name) + "_complete"
    return {"install": _INSTALL, "uninstall": _UNINSTALL}[command][shell].format(program=name, function=function)


def asked(words: list[str]) -> tuple[str, str]:
    """Returns command and shell of a request such as `install=bash`.

    Raises:
        Refused: It is none.
    """
    wanted = " or ".join(f"{command}={'|'.join(SHELLS)}" for command in COMMANDS)
    command, _, shell = words[0].partition("=") if len(words) == 1 else ("", "", "")
    if command not in (*COMMANDS, "query"):
        raise Refused([Fault("completion is installed or not", where="command line -sc", wanted=wanted)])
    if shell not in SHELLS:
        todo = did_you_mean(shell, SHELLS) if shell else None
        fault = Fault(
            "there is no completion for this shell", where=f"command line -sc {words[0]}", wanted=wanted, todo=todo
        )
        raise Refused([fault])
    return command, shell
