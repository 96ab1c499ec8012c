//! Shell completions. Flags and verbs come from the definition of the command line; names of domains
//! are asked for while the user types.

use crate::cli::definition;
use clap::{Arg, Command, ValueHint};
use clap_complete::Shell;

/// Prints the names of all domains but domain 0, one per line; says nothing where that fails.
const NAMES: &str =
    r#"xlr list --json 2>/dev/null | sed -n '/Domain-0/d;s/^ *"name": "\(.*\)",*$/\1/p'"#;

/// The script for a shell.
pub fn text(shell: Shell) -> String {
    let definition = definition();
    let verbs = verbs_with_domain(&definition);
    let script = |hint| {
        let (mut command, mut text) = (visible(&definition, hint), Vec::new());
        clap_complete::generate(shell, &mut command, "xlr", &mut text);
        String::from_utf8_lossy(&text).into_owned()
    };
    match shell {
        Shell::Bash => script(ValueHint::Unknown) + &bash(&verbs),
        // zsh asks a function for each argument: here the one for host names, and it becomes ours.
        Shell::Zsh => zsh(&script(ValueHint::Hostname)),
        Shell::Fish => script(ValueHint::Unknown) + &fish(&verbs),
        _ => script(ValueHint::Unknown),
    }
}

fn is_domain(argument: &Arg) -> bool {
    argument.is_positional() && matches!(argument.get_id().as_str(), "domain" | "domains")
}

fn is_name(verb: &Command, argument: &Arg) -> bool {
    is_domain(argument) || verb.get_name() == "domid" && argument.get_id().as_str() == "name"
}

/// The verbs whose first argument is a domain.
fn verbs_with_domain(definition: &Command) -> Vec<String> {
    let takes = |verb: &&Command| {
        verb.get_positionals().next().is_some_and(|argument| is_name(verb, argument))
    };
    definition.get_subcommands().filter(takes).map(|verb| verb.get_name().to_owned()).collect()
}

/// The command without what is hidden: what the help does not tell is not offered either. Arguments
/// that are names of domains get `hint`.
fn visible(command: &Command, hint: ValueHint) -> Command {
    let arguments = command.get_arguments().filter(|argument| !argument.is_hide_set());
    let mut shown = Command::new(command.get_name().to_owned()).args(arguments.map(|argument| {
        let argument = argument.clone();
        if is_name(command, &argument) { argument.value_hint(hint) } else { argument }
    }));
    if let Some(about) = command.get_about() {
        shown = shown.about(about.clone());
    }
    if let Some(version) = command.get_version() {
        shown = shown.version(version.to_owned());
    }
    let verbs = command.get_subcommands().filter(|verb| !verb.is_hide_set());
    shown.subcommands(verbs.map(|verb| visible(verb, hint)))
}

fn bash(verbs: &[String]) -> String {
    format!(
        r#"
_xlr_and_domains() {{
    _xlr "$@"
    local word verb= place=
    for word in "${{COMP_WORDS[@]:1:COMP_CWORD-1}}"; do
        case "$word" in
            -*) ;;
            *) if [ -z "$verb" ]; then verb=$word; else place=$word; fi ;;
        esac
    done
    case "$verb" in
        list | uptime | vcpu-list) place= ;;
    esac
    case "$verb" in
        {})
            local current=${{COMP_WORDS[COMP_CWORD]}}
            if [ -z "$place" ] && [ "${{current#-}}" = "$current" ]; then
                local IFS=$'\n'
                COMPREPLY=($(compgen -W "$({NAMES})" -- "$current"))
            fi
            ;;
    esac
}}
complete -o bashdefault -o default -F _xlr_and_domains xlr
"#,
        verbs.join(" | ")
    )
}

fn zsh(script: &str) -> String {
    let function = format!(
        r#"
_xlr_domains() {{
    local -a names
    names=("${{(@f)$({NAMES})}}")
    compadd -a names
}}
"#
    );
    // After the first line, which tells zsh what the file is for.
    let (first, rest) = script.split_once('\n').unwrap_or((script, ""));
    format!("{first}\n{function}{}", rest.replace("_hosts", "_xlr_domains"))
}

fn fish(verbs: &[String]) -> String {
    format!(
        r#"
function __xlr_domains
    {NAMES}
end
complete -c xlr -n "__fish_seen_subcommand_from {}" -f -a "(__xlr_domains)"
"#,
        verbs.join(" ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_hidden_is_offered_and_domains_are() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish, Shell::Elvish, Shell::PowerShell] {
            let text = text(shell);
            assert!(!text.contains("fail-before-step"), "{shell}");
            assert!(text.contains("--dry-run") || text.contains("dry-run"), "{shell}");
            assert!(text.contains("vcpu-list"), "{shell}");
        }
        for (shell, call) in [
            (Shell::Bash, "-F _xlr_and_domains xlr"),
            (Shell::Zsh, ":_xlr_domains"),
            (Shell::Fish, "(__xlr_domains)"),
        ] {
            assert!(text(shell).contains(call), "{shell}: {}", text(shell));
        }
        assert!(!text(Shell::Zsh).contains("_hosts"));
    }

    #[test]
    fn verbs_that_take_a_domain() {
        let verbs = verbs_with_domain(&definition());
        for verb in ["console", "destroy", "domid", "list", "pause", "rename", "uptime"] {
            assert!(verbs.iter().any(|known| known == verb), "{verb} in {verbs:?}");
        }
        for verb in ["create", "info", "domname", "dmesg"] {
            assert!(!verbs.iter().any(|known| known == verb), "{verb} in {verbs:?}");
        }
    }
}
