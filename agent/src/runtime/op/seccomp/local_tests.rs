//! Profiles of the node, from their text to the answers of their program.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::interpreter::run;
use super::program::{HERE, compile};
use super::*;

const ALLOW: u32 = libc::SECCOMP_RET_ALLOW;
const LOG: u32 = libc::SECCOMP_RET_LOG;
const KILL: u32 = libc::SECCOMP_RET_KILL_PROCESS;

fn errno(number: i32) -> u32 {
    libc::SECCOMP_RET_ERRNO | number.unsigned_abs()
}

fn around(capabilities: &[&str]) -> Surroundings {
    let capabilities = capabilities.iter().map(|name| (*name).to_owned()).collect();
    Surroundings { capabilities, kernel: KernelVersion(6, 1) }
}

fn compiled(profile: &Value, around: &Surroundings) -> Vec<sock_filter> {
    let parsed = Profile::parse(profile.to_string().as_bytes()).expect("a profile");
    compile(&Answers::of(&parsed, around)).expect("not too long")
}

fn program(profile: &Value) -> Vec<sock_filter> {
    compiled(profile, &around(&[]))
}

fn call(name: &str) -> u32 {
    names::number(name).unwrap_or_else(|| panic!("no call {name}"))
}

fn answer(program: &[sock_filter], name: &str, arguments: &[u64]) -> u32 {
    let mut all = [0; 6];
    all[..arguments.len()].copy_from_slice(arguments);
    run(program, HERE, call(name), all)
}

/// One rule about `socket`, denied with 7 under these conditions; all else is allowed.
fn on_socket(arguments: &Value) -> Vec<sock_filter> {
    let rule = json!({
        "names": ["socket"], "action": "SCMP_ACT_ERRNO", "errnoRet": 7, "args": arguments,
    });
    program(&json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]}))
}

#[test]
fn every_action_has_its_answer() {
    let answers = [
        ("SCMP_ACT_KILL", libc::SECCOMP_RET_KILL_THREAD),
        ("SCMP_ACT_KILL_THREAD", libc::SECCOMP_RET_KILL_THREAD),
        ("SCMP_ACT_KILL_PROCESS", KILL),
        ("SCMP_ACT_TRAP", libc::SECCOMP_RET_TRAP),
        ("SCMP_ACT_ERRNO", errno(libc::EPERM)),
        ("SCMP_ACT_TRACE", libc::SECCOMP_RET_TRACE | 1),
        ("SCMP_ACT_LOG", LOG),
        ("SCMP_ACT_ALLOW", ALLOW),
    ];
    for (action, expected) in answers {
        let always = program(&json!({"defaultAction": action}));
        assert_eq!(answer(&always, "read", &[]), expected, "{action}");
        let rule = json!({"names": ["read"], "action": action});
        let default = if expected == ALLOW { "SCMP_ACT_LOG" } else { "SCMP_ACT_ALLOW" };
        let one = program(&json!({"defaultAction": default, "syscalls": [rule]}));
        assert_eq!(answer(&one, "read", &[]), expected, "{action}");
        assert_eq!(answer(&one, "write", &[]), if expected == ALLOW { LOG } else { ALLOW });
    }
    let default =
        json!({"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 38, "defaultErrno": "ENOSYS"});
    assert_eq!(answer(&program(&default), "read", &[]), errno(libc::ENOSYS));
}

#[test]
fn arguments_are_compared_as_64_bits_without_a_sign() {
    let big = 0x1_0000_0005_u64;
    let cases: [(&str, &[u64], &[u64]); 6] = [
        ("SCMP_CMP_EQ", &[big], &[5, big - 1, big + 1, 0x2_0000_0005]),
        ("SCMP_CMP_NE", &[5, big - 1, big + 1, 0x2_0000_0005], &[big]),
        ("SCMP_CMP_LT", &[0, 5, 0xffff_ffff, big - 1], &[big, big + 1, u64::MAX]),
        ("SCMP_CMP_LE", &[0, 5, 0xffff_ffff, big], &[big + 1, 0x2_0000_0000, u64::MAX]),
        ("SCMP_CMP_GT", &[big + 1, 0x2_0000_0000, u64::MAX], &[0, 6, 0xffff_ffff, big]),
        ("SCMP_CMP_GE", &[big, big + 1, 0x2_0000_0000], &[0, 6, 0xffff_ffff, big - 1]),
    ];
    for (operator, held, not) in cases {
        if cfg!(target_pointer_width = "64") {
            let filter = on_socket(&json!([{"index": 2, "value": big, "op": operator}]));
            for value in held {
                assert_eq!(
                    answer(&filter, "socket", &[0, 0, *value]),
                    errno(7),
                    "{operator} {value}"
                );
            }
            for value in not {
                assert_eq!(answer(&filter, "socket", &[0, 0, *value]), ALLOW, "{operator} {value}");
            }
        }
    }
    let masked = json!([{
        "index": 0, "value": 0xff00, "valueTwo": 0x1200, "op": "SCMP_CMP_MASKED_EQ",
    }]);
    let filter = on_socket(&masked);
    assert_eq!(answer(&filter, "socket", &[0x0099_1234]), errno(7));
    assert_eq!(answer(&filter, "socket", &[0x1300]), ALLOW);
}

#[test]
fn what_is_beside_a_mask_is_not_compared() {
    let masked =
        on_socket(&json!([{"index": 0, "value": 1, "valueTwo": 3, "op": "SCMP_CMP_MASKED_EQ"}]));
    let denied = [0, 1, 2, 3].map(|domain| answer(&masked, "socket", &[domain]) == errno(7));
    assert_eq!(denied, [false, true, false, true]);
}

#[test]
fn a_rule_that_says_what_happens_anyway_says_nothing() {
    let rule = |action: &str, index: u8| {
        let argument = json!({"index": index, "value": 1, "op": "SCMP_CMP_EQ"});
        json!({"names": ["kill"], "action": action, "args": [argument]})
    };
    let rules = [rule("SCMP_ACT_ALLOW", 0), rule("SCMP_ACT_ERRNO", 1)];
    let program = program(&json!({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": rules}));
    assert_eq!(answer(&program, "kill", &[1, 1]), ALLOW);
    assert_eq!(answer(&program, "kill", &[2, 1]), errno(libc::EPERM));
}

#[test]
fn conditions_hold_together_and_those_about_one_argument_are_alternatives() {
    let both = json!([
        {"index": 0, "value": 1, "op": "SCMP_CMP_EQ"},
        {"index": 1, "value": 2, "op": "SCMP_CMP_EQ"},
    ]);
    let filter = on_socket(&both);
    assert_eq!(answer(&filter, "socket", &[1, 2]), errno(7));
    assert_eq!(
        (answer(&filter, "socket", &[1, 3]), answer(&filter, "socket", &[0, 2])),
        (ALLOW, ALLOW)
    );
    let either = json!([
        {"index": 0, "value": 1, "op": "SCMP_CMP_EQ"},
        {"index": 0, "value": 2, "op": "SCMP_CMP_EQ"},
    ]);
    let filter = on_socket(&either);
    assert_eq!(
        (answer(&filter, "socket", &[1]), answer(&filter, "socket", &[2])),
        (errno(7), errno(7))
    );
    assert_eq!(answer(&filter, "socket", &[3]), ALLOW);
}

#[test]
fn of_several_rules_the_unconditional_one_counts_else_the_strictest() {
    let rule = |action: &str, arguments: Value| json!({"names": ["socket"], "action": action, "args": arguments});
    let at_least = |value: u64| json!([{"index": 0, "value": value, "op": "SCMP_CMP_GE"}]);
    let of = |rules: Value| program(&json!({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": rules}));
    let filter = of(json!([
        rule("SCMP_ACT_ALLOW", at_least(1)),
        rule("SCMP_ACT_KILL_PROCESS", at_least(9)),
        // What happens anyway.
        rule("SCMP_ACT_ERRNO", json!([])),
    ]));
    assert_eq!(answer(&filter, "socket", &[0]), errno(libc::EPERM));
    assert_eq!((answer(&filter, "socket", &[5]), answer(&filter, "socket", &[9])), (ALLOW, KILL));
    let filter = of(json!([
        rule("SCMP_ACT_KILL_PROCESS", at_least(0)),
        rule("SCMP_ACT_LOG", json!(null)),
        rule("SCMP_ACT_ALLOW", json!(null)),
    ]));
    assert_eq!(answer(&filter, "socket", &[0]), LOG);
}

#[test]
fn rules_are_for_some_nodes_and_containers() {
    let rule = |name: &str, scope: &str, what: Value| json!({"names": [name], "action": "SCMP_ACT_ALLOW", scope: what});
    let other = if cfg!(target_arch = "x86_64") { "arm64" } else { "amd64" };
    let profile = json!({
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": 38,
        "archMap": [{"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86"]}],
        "syscalls": [
            rule("bind", "includes", json!({"caps": ["CAP_NET_ADMIN", "CAP_BPF"]})),
            rule("clone", "excludes", json!({"caps": ["CAP_SYS_ADMIN"]})),
            rule("read", "includes", json!({"minKernel": "4.8"})),
            rule("write", "includes", json!({"minKernel": "6.2"})),
            rule("close", "excludes", json!({"minKernel": "6.1"})),
            rule("openat", "includes", json!({"arches": [other]})),
            rule("dup", "excludes", json!({"arches": [other, "s390x"]})),
            rule("no_such_call", "includes", json!({})),
        ],
    });
    let allowed = |capabilities: &[&str]| {
        let program = compiled(&profile, &around(capabilities));
        let names = ["bind", "clone", "read", "write", "close", "openat", "dup"];
        names.into_iter().filter(|name| answer(&program, name, &[]) == ALLOW).collect::<Vec<_>>()
    };
    assert_eq!(allowed(&["NET_ADMIN"]), ["clone", "read", "dup"]);
    assert_eq!(allowed(&["NET_ADMIN", "BPF", "SYS_ADMIN"]), ["bind", "read", "dup"]);
}

#[test]
fn calls_newer_than_a_list_of_what_is_allowed_look_as_if_there_were_none() {
    let names = json!(["read", "openat2"]);
    let rules = json!([{"names": names, "action": "SCMP_ACT_ALLOW"}]);
    let program =
        super::local_tests::program(&json!({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": rules}));
    assert_eq!(answer(&program, "openat2", &[]), ALLOW);
    assert_eq!(answer(&program, "write", &[]), errno(libc::EPERM));
    assert_eq!(answer(&program, "mseal", &[]), errno(libc::ENOSYS));
    let nothing = super::local_tests::program(&json!({"defaultAction": "SCMP_ACT_ERRNO"}));
    assert_eq!(answer(&nothing, "mseal", &[]), errno(libc::EPERM));
}

#[test]
fn no_other_way_to_call_the_kernel_leads_around_the_filter() {
    let program = program(&json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
    }));
    for foreign in [0x4000_0003, 0x4000_0028, 0xc000_003e, 0xc000_00b7, 0, u32::MAX] {
        let expected = if foreign == HERE { ALLOW } else { KILL };
        assert_eq!(run(&program, foreign, call("read"), [0; 6]), expected, "{foreign:#x}");
    }
    if cfg!(target_arch = "x86_64") {
        for x32 in [0x4000_0000, 0x4000_0001, 0x4000_0208, u32::MAX] {
            assert_eq!(run(&program, HERE, x32, [0; 6]), errno(libc::ENOSYS), "{x32:#x}");
        }
        assert_eq!(run(&program, HERE, 0x3fff_ffff, [0; 6]), ALLOW);
    }
}

#[test]
fn what_is_no_profile_is_refused_by_what_is_wrong() {
    let long: Vec<_> =
        (0..65).map(|_| json!({"index": 0, "value": 1, "op": "SCMP_CMP_EQ"})).collect();
    let rule = |more: Value| {
        let mut rule = json!({"names": ["read"], "action": "SCMP_ACT_ALLOW"});
        rule.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [rule]})
    };
    let rules: Vec<_> = (0..1025).map(|_| json!({"names": [], "action": "SCMP_ACT_LOG"})).collect();
    let cases = [
        (json!({}), "missing field `defaultAction`"),
        (json!({"defaultAction": "SCMP_ACT_NOTIFY"}), "unknown variant `SCMP_ACT_NOTIFY`"),
        (json!({"defaultAction": "SCMP_ACT_LOG", "syscall": []}), "unknown field `syscall`"),
        (
            json!({"defaultAction": "SCMP_ACT_LOG", "defaultErrnoRet": 4096}),
            "errno 4096 exceeds 4095",
        ),
        (
            json!({"defaultAction": "SCMP_ACT_LOG", "architectures": ["x86"]}),
            "unknown architecture `x86`",
        ),
        (
            json!({"defaultAction": "SCMP_ACT_LOG", "flags": ["SECCOMP_FILTER_FLAG_X"]}),
            "unknown variant",
        ),
        (
            json!({"defaultAction": "SCMP_ACT_LOG", "syscalls": rules}),
            "a list of more than 1024 entries",
        ),
        (
            rule(json!({"args": [{"index": 6, "value": 1, "op": "SCMP_CMP_EQ"}]})),
            "a call has no argument 6",
        ),
        (rule(json!({"args": [{"index": 0, "value": -1, "op": "SCMP_CMP_EQ"}]})), "invalid value"),
        (rule(json!({"args": long})), "a list of more than 64 entries"),
        (rule(json!({"errno": "EPERM"})), "an errno by its name alone"),
        (rule(json!({"includes": {"minKernel": "4"}})), "minKernel must be MAJOR.MINOR"),
    ];
    for (profile, expected) in cases {
        let error = Profile::parse(profile.to_string().as_bytes()).expect_err(expected).to_string();
        assert!(error.contains(expected), "{error}");
    }
    for broken in ["", "[", "[[[[", "null", "{\"defaultAction\": \"SCMP_ACT_LOG\"} x"] {
        assert!(Profile::parse(broken.as_bytes()).is_err(), "{broken}");
    }
    assert!(Profile::parse("[".repeat(100_000).as_bytes()).is_err());
}

#[test]
fn a_program_that_the_kernel_would_not_take_is_not_made() {
    let argument = |value: u32| json!([{"index": 0, "value": value, "op": "SCMP_CMP_EQ"}]);
    let rules: Vec<_> = (0..1000)
        .map(|value| json!({"names": ["read"], "action": "SCMP_ACT_LOG", "args": argument(value)}))
        .collect();
    let profile = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": rules});
    let parsed = Profile::parse(profile.to_string().as_bytes()).unwrap();
    let error = compile(&Answers::of(&parsed, &around(&[]))).expect_err("too long").to_string();
    assert!(error.ends_with("instructions, more than the kernel's 4096"), "{error}");
}

#[test]
fn what_no_filter_has_room_for_takes_no_memory() {
    let arguments: Vec<_> = (0..64).map(|_| json!({"index": 0, "op": "SCMP_CMP_NE"})).collect();
    let calls = (0..500).filter_map(syscalls::Sysno::new);
    let names: Vec<_> = calls.map(|call| call.name().to_owned()).collect();
    let rule = json!({"names": names, "action": "SCMP_ACT_LOG", "args": arguments});
    let profile = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": vec![rule; 40]});
    let parsed = Profile::parse(profile.to_string().as_bytes()).unwrap();
    let answers = Answers::of(&parsed, &around(&[]));
    assert!(answers.excess().is_some_and(|asked| asked > 40 * 64 * 300));
    let kept = answers.calls.values().map(|verdict| match verdict {
        rules::Verdict::First(all) => all.len(),
        rules::Verdict::Always(_) => 0,
    });
    assert!(kept.sum::<usize>() <= 64 * 1024);
    assert!(compile(&answers).is_err());
}

/// A rule as the property sees it: calls, how strict, and conditions.
type Drawn = (Vec<usize>, usize, Vec<(usize, usize, u64, u64)>);

const CALLS: [&str; 5] = ["read", "socket", "clone", "mseal", "execve"];
const ACTIONS: [(&str, u32); 4] = [
    ("SCMP_ACT_KILL_PROCESS", KILL),
    ("SCMP_ACT_ERRNO", libc::SECCOMP_RET_ERRNO | 1),
    ("SCMP_ACT_LOG", LOG),
    ("SCMP_ACT_ALLOW", ALLOW),
];
const OPERATORS: [&str; 7] = ["EQ", "NE", "LT", "LE", "GT", "GE", "MASKED_EQ"];

fn holds((argument, operator, value, two): (usize, usize, u64, u64), arguments: [u64; 6]) -> bool {
    let found = arguments[argument];
    match OPERATORS[operator] {
        "EQ" => found == value,
        "NE" => found != value,
        "LT" => found < value,
        "LE" => found <= value,
        "GT" => found > value,
        "GE" => found >= value,
        _ => found & value == two & value,
    }
}

/// What a list of rules means, said as plainly as can be.
fn expected(default: usize, rules: &[Drawn], asked: usize, arguments: [u64; 6]) -> u32 {
    let named = || rules.iter().filter(|rule| rule.0.contains(&asked) && rule.1 != default);
    if let Some(first) = named().find(|rule| rule.2.is_empty()) {
        return ACTIONS[first.1].1;
    }
    let applies = |rule: &&Drawn| {
        let asked: BTreeSet<_> = rule.2.iter().map(|condition| condition.0).collect();
        let mut held = rule.2.iter().map(|condition| holds(*condition, arguments));
        if asked.len() < rule.2.len() { held.any(|held| held) } else { held.all(|held| held) }
    };
    let strictest = named().filter(applies).map(|rule| rule.1).min();
    if let Some(action) = strictest {
        return ACTIONS[action].1;
    }
    let greatest = rules.iter().flat_map(|rule| &rule.0).map(|place| call(CALLS[*place])).max();
    let newer = greatest.is_some_and(|greatest| call(CALLS[asked]) > greatest);
    if newer && default < 2 { errno(libc::ENOSYS) } else { ACTIONS[default].1 }
}

/// Numbers near the edges of words, within what an argument has here.
fn word() -> impl Strategy<Value = u64> {
    let edges = [0, 1, 5, 0xffff_fffe, 0xffff_ffff, 0x1_0000_0000, 0x1_0000_0005, u64::MAX];
    let edges = prop::sample::select(edges.to_vec());
    prop_oneof![edges, 0..16_u64, any::<u64>()].prop_map(|value| value & usize::MAX as u64)
}

proptest! {
    #[test]
    fn programs_answer_as_their_rules_say(
        default in 0..ACTIONS.len(),
        rules in prop::collection::vec((
            prop::collection::vec(0..CALLS.len(), 1..4),
            0..ACTIONS.len(),
            prop::collection::vec((0..6_usize, 0..OPERATORS.len(), word(), word()), 0..7),
        ), 0..6),
        asked in 0..CALLS.len(),
        arguments in [word(), word(), word(), word(), word(), word()],
    ) {
        let written: Vec<_> = rules.iter().map(|(calls, action, conditions)| {
            let names: Vec<_> = calls.iter().map(|place| CALLS[*place]).collect();
            let arguments: Vec<_> = conditions.iter().map(|(index, operator, value, two)| {
                let operator = format!("SCMP_CMP_{}", OPERATORS[*operator]);
                json!({"index": index, "op": operator, "value": value, "valueTwo": two})
            }).collect();
            json!({"names": names, "action": ACTIONS[*action].0, "args": arguments})
        }).collect();
        let program = program(&json!({"defaultAction": ACTIONS[default].0, "syscalls": written}));
        let found = run(&program, HERE, call(CALLS[asked]), arguments);
        prop_assert_eq!(found, expected(default, &rules, asked, arguments));
    }

    #[test]
    fn hostile_text_is_a_profile_that_compiles_or_an_error(text in "[\\[\\]{},:\"a-zA-Z_0-9 -]{0,200}") {
        if let Ok(profile) = Profile::parse(text.as_bytes()) {
            let _ = compile(&Answers::of(&profile, &around(&[])));
        }
    }
}
