use proptest::prelude::*;
use serde_json::json;

use super::*;

/// The document of kubectl's own manual, and what it does not cover.
fn document() -> Value {
    json!({
        "kind": "List",
        "items": [
            {
                "kind": "None",
                "metadata": {
                    "name": "127.0.0.1",
                    "labels": { "kubernetes.io/hostname": "127.0.0.1" },
                },
                "status": {
                    "capacity": { "cpu": "4" },
                    "ready": true,
                    "addresses": [{ "type": "LegacyHostIP", "address": "127.0.0.1" }],
                },
            },
            {
                "kind": "None",
                "metadata": { "name": "127.0.0.2" },
                "status": {
                    "capacity": { "cpu": "8" },
                    "ready": false,
                    "addresses": [
                        { "type": "LegacyHostIP", "address": "127.0.0.2" },
                        { "type": "another", "address": "127.0.0.3" },
                    ],
                },
            },
        ],
        "users": [
            { "name": "myself", "user": {} },
            { "name": "e2e", "user": { "username": "admin", "password": "secret" }, "age": 7 },
        ],
        "n": { "a.b": 1, "null": null, "float": 1.5, "list": [1, 2, 3, 4, 5] },
    })
}

#[rustfmt::skip]
const CASES: &[(&str, &str)] = &[
    // kubectl's manual
    ("text is {.kind}", "text is List"),
    ("kind is {['kind']}", "kind is List"),
    ("{..name}", "127.0.0.1 127.0.0.2 myself e2e"),
    ("{.items[*].metadata.name}", "127.0.0.1 127.0.0.2"),
    ("{.items[*]['metadata.name','status.capacity']}", "127.0.0.1 {\"cpu\":\"4\"} 127.0.0.2 {\"cpu\":\"8\"}"),
    ("{.users[?(@.name==\"e2e\")].user.password}", "secret"),
    ("{range .items[*]}[{.metadata.name}, {.status.capacity}] {end}", "[127.0.0.1, {\"cpu\":\"4\"}] [127.0.0.2, {\"cpu\":\"8\"}] "),
    ("{range .items[*]}{.metadata.name}{'\\t'}{end}", "127.0.0.1\t127.0.0.2\t"),
    ("{.items[0].metadata.labels.kubernetes\\.io/hostname}", "127.0.0.1"),
    ("{range .items[*]}{.metadata.name}{\"\\n\"}{end}", "127.0.0.1\n127.0.0.2\n"),
    // places and slices
    ("{.items[0].metadata.name}", "127.0.0.1"),
    ("{.items[-1].metadata.name}", "127.0.0.2"),
    ("{.n.list[1:3]}", "2 3"),
    ("{.n.list[:2]}", "1 2"),
    ("{.n.list[3:]}", "4 5"),
    ("{.n.list[-2:]}", "4 5"),
    ("{.n.list[0:5:2]}", "1 3 5"),
    ("{.n.list[::2]}", "1 3 5"),
    ("{.n.list[0,2]}", "1 3"),
    ("{.n.list[4:9]}", "5"),
    ("{.n.list[*]}", "1 2 3 4 5"),
    ("{.n.list}", "[1,2,3,4,5]"),
    // fields
    ("{$.kind}", "List"),
    ("{@.kind}", "List"),
    ("{.kind} {.kind}", "List List"),
    ("{.kind}{'-'}{.n.float}", "List-1.5"),
    ("{.n['a\\.b']}", "1"),
    ("{.n.a\\.b}", "1"),
    ("{.missing}", ""),
    ("{.missing.deeper[0]}", ""),
    ("{.kind.deeper}", ""),
    ("{.n.null}", "null"),
    ("{.n.*}", "1 1.5 [1,2,3,4,5] null"),
    ("{.items[0].status.ready}", "true"),
    ("{..password}", "secret"),
    ("{.items..address}", "127.0.0.1 127.0.0.2 127.0.0.3"),
    ("{.users[*].name}{\" \"}{.users[0].name}", "myself e2e myself"),
    ("{}", ""),
    ("", ""),
    ("no expression", "no expression"),
    // filters
    ("{.users[?(@.age)].name}", "e2e"),
    ("{.users[?(@.age>6)].name}", "e2e"),
    ("{.users[?(@.age>=7)].name}", "e2e"),
    ("{.users[?(@.age<7)].name}", ""),
    ("{.users[?(@.age<=7)].name}", "e2e"),
    ("{.users[?(@.age!=8)].name}", "e2e"),
    ("{.users[?( @.name == 'myself' )].name}", "myself"),
    ("{.items[?(@.status.ready==true)].metadata.name}", "127.0.0.1"),
    ("{.items[*].status.addresses[?(@.type==\"another\")].address}", "127.0.0.3"),
    ("{.items[?(@.status.addresses[0].address==\"127.0.0.2\")].metadata.name}", "127.0.0.2"),
    ("{.items[?(@.metadata.name==\"127.0.0.1\")].status.addresses[0].type}", "LegacyHostIP"),
    ("{.n.list[?(@>3)]}", "4 5"),
    ("{.n.list[?(@==2)]}", "2"),
    ("{.users[?(@.name==@.user.username)].name}", ""),
    // ranges
    ("{range .users[*]}{range $.n.list[0:2]}{@}{end};{end}", "12;12;"),
    ("{range .missing[*]}x{end}", ""),
    ("{range .users[?(@.age)]}{.name}={.age}{end}", "e2e=7"),
    ("{range .items[*]}{range .status.addresses[*]}{.address},{end}{end}", "127.0.0.1,127.0.0.2,127.0.0.3,"),
];

#[test]
fn templates_print_what_kubectl_prints() {
    for (template, expected) in CASES {
        let parsed: Template = template.parse().unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(parsed.fill(&document()).as_deref(), Ok(*expected), "{template}");
    }
}

#[test]
fn what_is_no_template_is_refused_with_the_reason() {
    for (template, problem) in [
        ("{.a", "unclosed action"),
        ("{", "unclosed action"),
        ("{range .items[*]}", "range is not closed by {end}"),
        ("{end}", "not in range, nothing to end"),
        ("{\"a}", "unterminated quoted string"),
        ("{.a[}", "unrecognized character in action: '}'"),
        ("{.a[0}", "unrecognized character in action: '}'"),
        ("{.a[", "unterminated array"),
        ("{.a[1:2:3:4]}", "invalid array index 1:2:3:4"),
        ("{.a[0:1:0]}", "invalid array index 0:1:0"),
        ("{.a[99999999999999999999]}", "invalid array index 99999999999999999999"),
        ("{.a[?(@.b==)]}", "unrecognized character in action: ')'"),
        ("{.a[?(@.b==1]}", "unrecognized character in action: ']'"),
        ("{.a[?(@.b", "unterminated filter"),
        ("{.a[?@.b]}", "unterminated filter"),
        ("{#}", "unrecognized character in action: '#'"),
    ] {
        let error = template.parse::<Template>().expect_err(template).to_string();
        assert_eq!(error, format!("error parsing jsonpath {template}: {problem}"));
    }
}

#[test]
fn a_place_that_is_not_there_is_an_error() {
    let template: Template = "{.items[2]}".parse().expect("template");
    assert_eq!(
        template.fill(&document()).expect_err("two items").to_string(),
        "error executing jsonpath \"{.items[2]}\": array index out of bounds: index 2, length 2"
    );
    let template: Template = "{.kind[0]}".parse().expect("template");
    let error = template.fill(&document()).expect_err("no list").to_string();
    assert!(error.ends_with("List is not array or slice"), "{error}");
}

#[test]
fn wait_takes_an_expression_without_braces() {
    for text in ["{.kind}", ".kind", "kind", "$.kind", "{$.kind}"] {
        let template = Template::relaxed(text).expect(text);
        assert_eq!(template.find(&document()), Ok(vec![&json!("List")]), "{text}");
    }
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "[{}a.\\[\\]*?()@$=<>!'\"\\\\0-9:, -]{0,40}|(\\{range .items\\[\\*\\]\\}|\\{end\\}|\\{..[a-z]\\}|\\[\\?\\(@.a){0,50}") {
        if let Ok(template) = text.parse::<Template>() {
            let _ = template.fill(&document());
        }
    }
}
