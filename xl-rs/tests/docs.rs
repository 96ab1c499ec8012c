//! The documents say what the program does: tables in them are held against the code.

use std::collections::BTreeMap;
use std::path::Path;
use xl_rs::cli::{definition, read, xl};
use yaml_rust2::{Yaml, YamlLoader};

fn document(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs").join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The rows of the table with this header: first cell without its quotes, then the others.
fn table(text: &str, header: &str) -> BTreeMap<String, Vec<String>> {
    let from = text.find(header).unwrap_or_else(|| panic!("no table {header:?}"));
    let rows = text[from..].lines().skip(2).take_while(|line| line.starts_with('|'));
    rows.map(|row| {
        let mut cells = row.trim_matches('|').split('|').map(|cell| cell.trim().to_owned());
        let first = cells.next().unwrap_or_default().trim_matches('`').to_owned();
        (first, cells.collect())
    })
    .collect()
}

/// Flags of xl's verb that xlr's has not, as the document lists them.
fn missing_flags(verb: &clap::Command) -> String {
    let known: Vec<String> = verb
        .get_arguments()
        .flat_map(|argument| {
            let short = argument.get_short_and_visible_aliases().unwrap_or_default();
            let long = argument.get_all_aliases().unwrap_or_default();
            let own = argument.get_long().into_iter().chain(long).map(|long| format!("--{long}"));
            short.into_iter().map(|short| format!("-{short}")).chain(own).collect::<Vec<_>>()
        })
        .collect();
    let flags = xl::FLAGS.iter().filter(|(of, _)| *of == verb.get_name());
    let missing = flags
        .flat_map(|(_, flags)| flags.iter())
        .filter(|forms| !forms.iter().any(|form| known.iter().any(|known| known == form)))
        .map(|forms| format!("`{}`", forms[0]));
    missing.collect::<Vec<_>>().join(", ")
}

/// Every verb of xl's is in the table, with whether xlr has it and which flags it lacks.
#[test]
fn the_verbs_of_xl() {
    let mut wrong = Vec::new();
    let rows = table(&document("coming-from-xl.md"), "| verb of xl |");
    let definition = definition();
    for verb in xl::VERBS {
        let ours = definition.get_subcommands().find(|ours| ours.get_name() == *verb);
        let (has, missing) = match ours {
            Some(ours) => ("yes", missing_flags(ours)),
            None => ("no", String::new()),
        };
        let row = rows.get(*verb).map(Vec::as_slice).unwrap_or_default();
        if row.first().map(String::as_str) != Some(has) || row.get(1) != Some(&missing) {
            wrong.push(format!("| `{verb}` | {has} | {missing} |"));
        }
    }
    assert!(wrong.is_empty(), "rows of docs/coming-from-xl.md should begin:\n{}", wrong.join("\n"));
    let unknown: Vec<&String> =
        rows.keys().filter(|row| !xl::VERBS.contains(&row.as_str())).collect();
    assert!(unknown.is_empty(), "not verbs of xl's: {unknown:?}");
    let own = "Verbs of xlr's own:";
    let text = document("coming-from-xl.md");
    let own = &text[text.find(own).expect(own)..];
    for verb in definition.get_subcommands().filter(|ours| !xl::VERBS.contains(&ours.get_name())) {
        let name = format!("`{}`", verb.get_name());
        assert!(own.contains(&name), "{name} is missing in: {own}");
    }
}

/// Every verb that takes --json has its shape described.
#[test]
fn every_json_is_described() {
    let text = document("json.md");
    let check = |verb: &clap::Command, name: String| {
        let takes = verb.get_arguments().any(|argument| argument.get_long() == Some("json"));
        let heading = format!("## xlr {name}\n");
        assert_eq!(takes, text.contains(&heading), "{heading}");
    };
    for verb in definition().get_subcommands() {
        check(verb, verb.get_name().to_owned());
        for part in verb.get_subcommands() {
            check(part, format!("{} {}", verb.get_name(), part.get_name()));
        }
    }
}

/// The fenced blocks of a document that are of this kind.
fn blocks(text: &str, kind: &str) -> Vec<String> {
    let mut blocks = Vec::new();
    for part in text.split(&format!("\n```{kind}\n")).skip(1) {
        let end = part.find("\n```").expect("a block that ends");
        blocks.push(part[..=end].to_owned());
    }
    blocks
}

/// Every `script` or `run` of a pipeline, at whatever depth.
fn commands(value: &Yaml, found: &mut Vec<String>) {
    match value {
        Yaml::Hash(mapping) => {
            for (key, value) in mapping {
                let is_script =
                    key.as_str().is_some_and(|key| key == "run" || key.ends_with("script"));
                match value {
                    Yaml::String(line) if is_script => found.push(line.clone()),
                    Yaml::Array(lines) if is_script => {
                        found.extend(
                            lines.iter().map(|line| line.as_str().expect("text").to_owned()),
                        );
                    }
                    _ => commands(value, found),
                }
            }
        }
        Yaml::Array(values) => values.iter().for_each(|value| commands(value, found)),
        _ => {}
    }
}

/// The pipelines are YAML, have what their systems demand, and call xlr as it is called.
#[test]
fn pipelines_can_be_read() {
    let read_yaml = |block: &String| {
        let mut documents =
            YamlLoader::load_from_str(block).unwrap_or_else(|error| panic!("{error}: {block}"));
        assert_eq!(documents.len(), 1, "{block}");
        documents.remove(0)
    };
    let all: Vec<Yaml> = blocks(&document("ci.md"), "yaml").iter().map(read_yaml).collect();
    let [gitlab, github] = all.as_slice() else { panic!("{} pipelines", all.len()) };
    let (job, stages) = (&gitlab["guests"], gitlab["stages"].as_vec().expect("stages"));
    assert!(stages.contains(&job["stage"]) && stages.contains(&gitlab["kernel"]["stage"]));
    assert_eq!(job["artifacts"]["reports"]["junit"].as_str(), Some("junit.xml"));
    assert_eq!(job["retry"]["exit_codes"][0].as_i64(), Some(3));
    let boot = &github["jobs"]["boot"];
    assert!(github["on"].is_array() && boot["runs-on"].is_array());
    for step in boot["steps"].as_vec().expect("steps") {
        let is_text = |key: &str| step[key].as_str().is_some();
        assert!(is_text("uses") != is_text("run"), "{step:?}");
    }
    for pipeline in [gitlab, github] {
        let mut found = Vec::new();
        commands(pipeline, &mut found);
        let runs: Vec<&String> = found.iter().filter(|line| line.contains("xlr run")).collect();
        assert_eq!(runs.len(), 1, "{found:?}");
        let line = runs[0].split_once("/usr/local/bin/").expect("a path").1;
        read(line.split(' ').map(Into::into)).unwrap_or_else(|error| panic!("{line}: {error}"));
    }
}

/// Commands in the documents are commands of xlr's.
#[test]
fn commands_in_documents_exist() {
    let definition = definition();
    for name in ["ci.md", "coming-from-xl.md", "troubleshooting.md", "json.md", "templates.md"] {
        for line in document(name).lines() {
            let words: Vec<&str> = line.split([' ', '`', '(']).collect();
            for pair in words.windows(2).filter(|pair| pair[0] == "xlr") {
                let verb = pair[1].trim_end_matches([',', ';', ':', '.', ')']);
                let is_verb = verb.chars().all(|c| c.is_ascii_lowercase() || c == '-');
                let looks = line.trim_start().starts_with("# xlr")
                    || line.contains(&format!("`xlr {verb}"));
                if looks && is_verb && !verb.starts_with('-') {
                    let known = definition.get_subcommands().any(|ours| ours.get_name() == verb);
                    assert!(known, "{name}: no verb {verb:?} in: {line}");
                }
            }
        }
    }
}

/// The commands that documents and templates begin with make what they say, from a clone. What needs
/// Xen is rendered in place of it.
#[test]
fn commands_for_templates_work_as_they_stand() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let out = std::env::temp_dir().join(format!("xlr-docs-{}", std::process::id()));
    let mut texts = vec![document("templates.md")];
    for entry in std::fs::read_dir(root.join("configs/templates")).expect("templates") {
        texts.push(std::fs::read_to_string(entry.expect("a file").path()).expect("a text"));
    }
    let mut tried = 0;
    for text in texts {
        let text = text.replace("\\\n", " ");
        for line in text.lines().map(str::trim).filter(|line| line.contains("configs/templates/")) {
            let Some(line) = line.strip_prefix("xlr ") else { continue };
            let line = line.split(" | ").next().expect("a command");
            let mut words: Vec<&str> = line.split_whitespace().collect();
            assert!(matches!(words[0], "render" | "create"), "{line}");
            words[0] = "render";
            let out = out.to_string_lossy();
            words.iter_mut().filter(|word| **word == "out/").for_each(|word| *word = &out);
            let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_xlr"));
            let ended = command.args(&words).current_dir(&root).output().expect("xlr");
            let said = String::from_utf8_lossy(&ended.stderr);
            assert!(ended.status.success(), "{line}: {said}");
            tried += 1;
        }
    }
    assert!(tried >= 6, "only {tried} commands");
    std::fs::remove_dir_all(out).expect("what -o has made");
}
