//! Packets about names: pods ask whatever they like, and whoever others are answers.

use mote_agent::fuzz::resolver;

use crate::drive::Target;

#[test]
fn name_questions() {
    let target = Target { made: resolver::questions(), ..Target::default() };
    Target { name: "name_questions", longest: 1300, ..target }.run(resolver::question);
}

#[test]
fn name_answers() {
    let target = Target { made: resolver::replies(), ..Target::default() };
    Target { name: "name_answers", longest: 5000, ..target }.run(resolver::reply);
}
