//! Shell completions. Flags and verbs come from the definition of the command line; names of domains
//! are asked for while the user types.

use crate::cli::definition;
use clap::{Arg, Command, ValueHint};
use clap_complete::Shell;

/// Prints the names of all domains but domain 0, one per line; says nothing where that fails. Whoever
/// may create a domain chooses its name: no shell may ever read it as anything but text.
const NAMES: &str = "xlr list --names 2>/dev/null";

/// The script for a shell.
pub fn text(shell: Shell) -> String {
    let definition = definition();
    let (verbs, many) = (verbs_with_domain(&definition), verbs_with_domains(&definition));
    let files = verbs_with_file(&definition);
    let script = |hint| {
        let (mut command, mut text) = (visible(&definition, hint), Vec::new());
        clap_complete::generate(shell, &mut command, "xlr", &mut text);
        String::from_utf8_lossy(&text).into_owned()
    };
    match shell {
        Shell::Bash => script(ValueHint::Unknown) + &bash(&verbs, &many, &files),
        // zsh asks a function for each argument: here the one for host names, and it becomes ours.
        Shell::Zsh => zsh(&script(ValueHint::Hostname)),
        Shell::Fish => script(ValueHint::Unknown) + &fish(&verbs, &many),
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
    verbs_whose_first(definition, is_name)
}

/// The verbs that take any number of domains.
fn verbs_with_domains(definition: &Command) -> Vec<String> {
    verbs_whose_first(definition, |_, argument| argument.get_id().as_str() == "domains")
}

/// The verbs that take a configuration file, some after a domain.
fn verbs_with_file(definition: &Command) -> Vec<String> {
    let takes = |verb: &&Command| {
        verb.get_positionals().any(|argument| argument.get_id().as_str() == "arguments")
    };
    definition.get_subcommands().filter(takes).map(|verb| verb.get_name().to_owned()).collect()
}

fn verbs_whose_first(definition: &Command, is: fn(&Command, &Arg) -> bool) -> Vec<String> {
    let takes =
        |verb: &&Command| verb.get_positionals().next().is_some_and(|argument| is(verb, argument));
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

/// Names are compared as they are and as they are typed, and inserted so that the shell reads them as
/// one word. After an opened quote that would not hold, so none is offered there. Where a file is
/// wanted nothing is answered, and bash offers files by itself.
fn bash(verbs: &[String], many: &[String], files: &[String]) -> String {
    format!(
        r#"
_xlr_domains() {{
    local current=${{COMP_WORDS[COMP_CWORD]}} name typed
    local -a names
    mapfile -t names < <({NAMES})
    COMPREPLY=()
    for name in "${{names[@]}}"; do
        printf -v typed %q "$name"
        case "$current" in
            [\"\']*) continue ;;
        esac
        if [[ $name == "$current"* || $typed == "$current"* ]]; then
            COMPREPLY+=("$typed")
        fi
    done
}}
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
        {})
            if [[ ${{COMP_WORDS[COMP_CWORD]}} != -* ]]; then
                COMPREPLY=()
            fi
            ;;
        {}) place= ;;
    esac
    case "$verb" in
        {})
            if [[ -z $place && ${{COMP_WORDS[COMP_CWORD]}} != -* ]]; then
                _xlr_domains
            fi
            ;;
    esac
}}
complete -o bashdefault -o default -F _xlr_and_domains xlr
"#,
        files.join(" | "),
        many.join(" | "),
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

/// fish quotes what it inserts by itself.
fn fish(verbs: &[String], many: &[String]) -> String {
    format!(
        r#"
function __xlr_domains
    {NAMES}
end
function __xlr_wants_domain
    set -l verb
    for word in (commandline -opc)[2..-1]
        switch $word
            case '-*'
            case '*'
                if test -z "$verb"
                    set verb $word
                else if not contains -- $verb {}
                    return 1
                end
        end
    end
    contains -- "$verb" {}
end
complete -c xlr -n __xlr_wants_domain -f -a "(__xlr_domains)"
"#,
        many.join(" "),
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
        // A second argument is a domain for some verbs only.
        let fish = text(Shell::Fish);
        let many = fish.split("not contains -- $verb ").nth(1).and_then(|rest| rest.lines().next());
        let mut many: Vec<&str> = many.unwrap_or_default().split(' ').collect();
        many.sort_unstable();
        let wanted = ["block-list", "channel-list", "list", "uptime", "vcpu-list"];
        assert!(wanted.iter().all(|verb| many.contains(verb)), "{many:?}");
        assert!(!many.contains(&"destroy"), "{many:?}");
        assert!(fish.contains("complete -c xlr -n __xlr_wants_domain -f"), "{fish}");
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
