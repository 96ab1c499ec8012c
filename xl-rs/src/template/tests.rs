use super::*;
use crate::config::diagnostic::render as show;
use crate::config::load;
use toml::Table;

fn values(text: &str) -> Value {
    values::of(&toml::from_str::<Table>(text).expect(text))
}

/// What a template makes: names and texts.
fn made(template: &str, given: &str) -> Vec<(Option<String>, String)> {
    match render("t.cfg.j2", template, &values(given)) {
        Ok(made) => made.into_iter().map(|one| (one.name, one.text)).collect(),
        Err((sources, problems)) => panic!("{}", show(&problems, &sources, false)),
    }
}

/// A template that makes one text.
fn check(template: &str, given: &str, expected: &str) {
    assert_eq!(made(template, given), [(None, expected.to_owned())], "{template:?}");
}

/// A template that is refused: at this line, with these words.
fn refuse(template: &str, given: &str, line: usize, words: &str) {
    let (sources, problems) = render("t.cfg.j2", template, &values(given)).expect_err(template);
    let text = show(&problems, &sources, false);
    assert_eq!(problems.len(), 1, "{text}");
    let at = format!("t.cfg.j2:{line}");
    assert_eq!(problems[0].span.map(|span| sources.place(span)), Some(at), "{text}");
    assert!(text.contains(words), "{words:?} is missing in:\n{text}");
}

#[test]
fn values_are_written_as_xl_cfg_has_them() {
    check("a = \"{{ a }}\"\n", "a = 'x'", "a = \"x\"\n");
    check("a = {{ a }}\n", "a = 16", "a = 16\n");
    check("a = {{ a }}\n", "a = -1", "a = \"-1\"\n");
    check("a = {{ a }}", "a = true", "a = 1");
    check("a = {{ a }}", "a = ['b', 2, ['c']]", "a = [\"b\", 2, [\"c\"]]");
    check("a = {{ a | quote }} {{ b | quote }}", "a = '4G'\nb = 4", "a = \"4G\" \"4\"");
    check("a = {{ missing | default('b') | quote }}", "", "a = \"b\"");
    refuse("a = 1\nb = {{ a }}", "a = { b = 1 }", 2, "no form for a table");
    refuse("a = {{ a }}", "a = 1.5", 1, "no form for a fraction");
    refuse("a = {{ none }}", "", 1, "no form for nothing");
}

/// No value can leave the string that it stands in.
#[test]
fn what_is_inserted_stays_in_its_string() {
    let mut values = Table::new();
    for text in ["\"\nkernel = \"/evil", "'; kernel='/evil", "\\", "a\\", "\n", "{{ x }}", "\t\r"] {
        values.insert("x".into(), text.into());
        for (open, template) in
            [("\"", "a = \"{{ x }}\"\n"), ("'", "a = '{{ x }}'\n"), ("", "a = {{ [x] }}\n")]
        {
            let made = render("t", template, &values::of(&values)).expect("a text");
            let mut sources = Sources::default();
            sources.add("made", made[0].text.as_bytes());
            let settings = load(sources).settings;
            assert_eq!(settings.keys().collect::<Vec<_>>(), ["a"], "{open} {text:?}");
            let found = crate::config::schema::document(&settings)["a"].clone();
            let found = if open.is_empty() { found[0].clone() } else { found };
            assert_eq!(found, text, "{open}");
        }
    }
}

#[test]
fn what_is_not_defined_is_refused() {
    refuse("a = 1\nname = \"{{ name }}\"\n", "", 2, "not defined");
    refuse("{% if wanted %}\n{% endif %}", "", 1, "not defined");
    refuse("\n\n{% for n in nodes %}\n{% endfor %}", "", 3, "not defined");
    refuse("{{ site.bridge }}", "site = {}", 1, "not defined");
    refuse("{{ 4 | nosuch }}", "", 1, "nosuch");
    refuse("{{ nosuch(4) }}", "", 1, "nosuch");
    refuse("a\n{% for %}", "", 2, "{% … %} is a statement");
    refuse("a\n{{ fail('two at least') }}", "", 2, "two at least");
    refuse("{% macro a() %}{{ a() }}{% endmacro %}{{ a() }}", "", 1, "recursion");
    refuse(
        "{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}",
        "",
        1,
        "end",
    );
    refuse("a\u{1}", "", 1, "control character");
}

#[test]
fn one_template_makes_many() {
    let template = "# all\n{% for n in range(nodes) %}\n{{ config(\"n\" ~ n) }}\nname = \"n{{ n }}\"\n{% endfor %}\n";
    let named = |n: u8| (Some(format!("n{n}")), format!("name = \"n{n}\"\n"));
    assert_eq!(made(template, "nodes = 2"), [named(0), named(1)]);
    assert_eq!(made(template, "nodes = 0"), [(None, String::from("# all\n"))]);
    refuse("a = 1\n{{ config('b') }}\n", "", 1, "belongs to no configuration");
    refuse("{{ config('b') }}\n{{ config('b') }}\n", "", 2, "two configurations are called");
    for name in ["../b", "b/c", "", ".b", "b c"] {
        refuse("# \n{{ config(name) }}\n", &format!("name = '{name}'"), 2, "name");
    }
}

/// A problem of what was made is shown in the template, with what was made there.
#[test]
fn problems_point_into_the_template() {
    let template = "{# a guest #}\n{% for n in range(2) %}\n{{ config(\"n\" ~ n) }}\nname = \"n{{ n }}\"\n\
                    kernel = \"/k\"\n{% if n == 1 %}\nmemory = {{ memory }}\n{% else %}\n  memory = 64\n{% endif %}\n\
                    vcpu = 2\n{% endfor %}\n";
    let made = render("t.cfg.j2", template, &values("memory = 0")).expect("texts");
    let shown = |index: usize| {
        let mut sources = Sources::default();
        made[index].add_to(&mut sources, "t.cfg.j2");
        let loaded = load(sources);
        show(&loaded.problems, &loaded.sources, false)
    };
    let first = shown(0);
    assert!(first.contains("t.cfg.j2:11:1") && first.contains("vcpu is not a key"), "{first}");
    let second = shown(1);
    for part in
        ["memory is too small", "t.cfg.j2:7:1", "made here: memory = 0", "memory = {{ memory }}"]
    {
        assert!(second.contains(part), "{part:?} is missing in:\n{second}");
    }
}

/// Where marks would change what is made, it is made all the same.
#[test]
fn marks_change_nothing() {
    check("{% set a %}x{% endset %}{% if a == 'x' %}\nb = 1\n{% endif %}\n", "", "b = 1\n");
    check("{% filter upper %}\na{% endfilter %}", "", "A");
    check("a = 1   \n\n   {%- if true -%}\n  \n b = 2 {% endif %}", "", "a = 1b = 2 ");
    check("{% raw %}{{ a }}{% endraw %}", "", "{{ a }}");
    check("{% macro m(x) %}\n{{ x }}\n{% endmacro %}\n{{ m(1) }}{{ m(1) | length }}", "", "1\n2");
}

#[test]
fn functions_and_filters() {
    check(
        "{{ '4G' | mib }} {{ 512 | size }} {{ 4096 | size }} {{ '1M' | kib }}",
        "",
        "4096 512M 4G 1024",
    );
    check("{{ '0-3,8' | expand }} {{ [8, 1, 0] | ranges }}", "", "[0, 1, 2, 3, 8] 0-1,8");
    check("{{ '0-7' | part(1, 4) }} {{ 5 | ranges }}", "", "2-3 5");
    refuse("{{ '1K' | mib }}", "", 1, "not a whole number of MiB");
    refuse("{{ 'all' | expand }}", "", 1, "no range such as 0-3");
    refuse("{{ x | mib }}", "", 1, "not defined");
    check(
        "{% for n in cluster(2, name='a', cpus=2, numa=['2-5']) %}{{ n.name }} {{ n.cpus }} {{ n.numa }};{% endfor %}",
        "",
        "a-0 2-3 0;a-1 4-5 0;",
    );
    refuse("{{ cluster(2, name='a', numaa=['2-5']) }}", "", 1, "numaa");
    refuse("{% for n in cluster(1, name='a') %}{{ n.cpus }}{% endfor %}", "", 1, "not defined");
    refuse("{{ cluster(3, name='a', cpus=2, numa=['2-5']) }}", "", 1, "do not fit");
    check("{{ uuid('a') == uuid('a') }} {{ uuid('a') == uuid('b') }}", "", "1 0");
}

/// Any text is a template, or is refused.
#[test]
fn fuzz_templates() {
    let iterations = std::env::var("XLR_FUZZ_ITERS").ok().and_then(|text| text.parse().ok());
    let parts = [
        "{{",
        "}}",
        "{%",
        "%}",
        "{#",
        "#}",
        " for n in range(3) ",
        " endfor ",
        " if n ",
        " endif ",
        " n ",
        "\n",
        "name = ",
        "\"",
        "'",
        "|",
        " mib ",
        " expand ",
        "config(n)",
        "cluster(2, name='a')",
        "-",
        "+",
        "[",
        "]",
        "(",
        ")",
        "1",
        "raw",
        "endraw",
        "set a = ",
        "\\",
        "é",
        " macro m() ",
        " endmacro ",
        "m()",
        "~",
        "part(0, 2)",
        "=",
        ",",
    ];
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % below as u64).unwrap_or(0)
    };
    let given = values("n = 3\na = 'x'");
    for _ in 0..iterations.unwrap_or(3000) {
        let text: String = (0..next(24)).map(|_| parts[next(parts.len())]).collect();
        match render("t", &text, &given) {
            Ok(made) => {
                for one in made {
                    let mut sources = Sources::default();
                    one.add_to(&mut sources, "t");
                    let loaded = load(sources);
                    assert!(show(&loaded.problems, &loaded.sources, false).len() < 1 << 20);
                }
            }
            Err((sources, problems)) => {
                assert!(!show(&problems, &sources, false).is_empty(), "{text:?}");
            }
        }
    }
}
