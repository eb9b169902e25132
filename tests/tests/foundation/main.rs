//! One pod, from an MQTT message to a running process to a status: on a real broker, a real
//! registry, a real kernel and the real binaries.
//!
//! | what must hold | test |
//! |---|---|
//! | publish, `Running` decoded by `mote get pods` | `life::an_applied_pod_runs_and_mote_shows_it` |
//! | exit 0 is Succeeded | `life::exit_0_is_succeeded` |
//! | exit 3 is Failed, with the code | `life::exit_3_is_failed_with_the_code` |
//! | image updated in place | `life::a_new_image_replaces_the_container_and_keeps_the_pod` |
//! | delete leaves nothing; tombstone cleared | `life::a_deleted_pod_leaves_nothing` |
//! | the same over TLS with a client certificate | `life::a_node_speaks_tls_with_a_certificate` |
//! | by tag and by digest from a registry | `life::an_image_comes_from_a_registry_by_tag_and_by_digest` |
//! | the local socket answers without a network | `life::ctl_answers_without_a_broker` |
//! | agent killed while 5 pods run: adopted, nothing restarts | `survival::five_pods_outlive_a_killed_agent` |
//! | an exit that nobody saw is reported with its code | `survival::an_exit_without_an_agent_is_reported_with_its_code` |
//! | `/run` wiped: running pods start again, finished ones do not | `survival::a_reboot_starts_running_pods_and_leaves_finished_ones` |
//! | SIGTERM ends the agent, not its pods | `survival::pods_outlive_an_agent_that_was_asked_to_stop` |
//! | the agent's program is replaced: adopted, nothing restarts | `upgrade::a_replaced_agent_takes_over_what_the_one_before_began` |
//! | no broker at start: pods start from flash | `offline::pods_start_from_flash_without_a_broker` |
//! | the broker comes back as it was | `offline::a_broker_that_comes_back_changes_nothing` |
//! | the broker comes back empty | `offline::a_broker_that_lost_its_memory_changes_nothing` |
//! | two operators, one object | `operators::the_later_of_two_writers_wins_and_the_other_is_told` |
//! | truncated frame, unknown version, kind, schema | `bad_input::frames_that_cannot_be_read_are_refused_by_reason` |
//! | unknown critical extension | `bad_input::a_critical_extension_is_refused_by_name` |
//! | 10 MiB retained beside a good object | `bad_input::a_huge_payload_does_not_keep_a_good_object_away` |
//! | forged topics, a name with `../` | `bad_input::forged_topics_make_nothing` |
//! | missing image | `bad_input::a_missing_image_is_told_and_nothing_else_waits` |
//! | layer with a wrong digest | `bad_input::a_layer_with_a_wrong_digest_is_never_unpacked` |
//! | layer entries that lead out of their root | `bad_input::layers_that_lead_out_are_refused_by_entry` |
//! | duplicate container name | `bad_input::a_duplicate_container_name_is_refused_by_field` |
//! | lower revision replayed | `bad_input::a_replayed_older_revision_is_stale` |
//! | replay after a deletion | `bad_input::a_replayed_pod_does_not_come_back_from_deletion` |
//! | empty payload on a spec topic | `bad_input::an_empty_payload_deletes_nothing` |
//! | a second board with the same identity | `identity::two_boards_of_one_name_tell_each_other_and_do_not_fight` |
//! | nothing ails a healthy node, and no look takes its session | `doctor::nothing_ails_a_healthy_node_and_nobody_notices_that_it_was_looked_at` |
//! | a broker that is gone, or takes connections and says nothing | `doctor::a_broker_that_is_gone_or_says_nothing_is_named` |
//! | a topic that the broker refuses | `doctor::a_topic_that_the_broker_refuses_is_named` |
//! | an expired certificate, a key that is gone | `doctor::certificates_that_expired_and_keys_that_are_gone_are_named` |
//! | no agent, an agent that hangs | `doctor::a_node_without_an_agent_is_looked_at_and_one_that_hangs_is_named` |
//! | mistakes in the configuration | `doctor::mistakes_of_the_configuration_are_named_one_by_one` |
//! | files on a server that does not answer | `doctor::files_that_nobody_serves_hold_up_nothing_else` |
//!
//! The figures have a command of their own, `cargo bench-node`; the counted ones are in the group
//! `counted`.

mod bad_input;
mod doctor;
mod identity;
mod life;
mod offline;
mod operators;
mod survival;
mod upgrade;
