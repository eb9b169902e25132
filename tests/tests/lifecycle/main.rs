//! The life of a pod as a kubelet would let it live, with real containers.
//!
//! | what must hold | test |
//! |---|---|
//! | init failing under Never, OnFailure, Always | `init::*` |
//! | sidecars start in order, gated by their startup probes, and end in reverse order | `init::sidecars_start_in_order_and_end_in_reverse` |
//! | each kind of probe by each handler, failing and recovering | `handlers::*`, `probes::*` |
//! | readiness flips Ready | `probes::readiness_flips_ready_both_ways` |
//! | crash-loop pauses | `restart::a_crash_loop_waits_ten_seconds_after_the_second_end` |
//! | postStart failing, preStop longer than grace | `hooks::*` |
//! | a container that ignores SIGTERM; a shorter second delete | `termination::*` |
//! | a finished pod has no sandbox any more, and has its logs | `termination::a_finished_pod_costs_nothing_and_its_logs_can_be_read` |
//! | logs survive the death of their sandbox | `termination::logs_outlive_the_sandbox_that_they_were_written_in` |
//! | delete during pull, init, back-off | `termination::a_pod_can_be_deleted_at_any_time` |
//! | agent killed while an image is missing, an init container or a hook runs, a back-off lasts, a pod is stopped, ends or is over | `resume::*` |
//! | logs of a container that runs and of one that has ended; tail, limit, times | `logs::of_a_finished_container` |
//! | the attempt before, after a crash; what is not there is said in kubelet's words | `logs::of_the_attempt_before` |
//! | follow: through rotations, to the container's end | `logs::followed_through_rotations_to_the_end` |
//! | two containers, one by one and together | `logs::of_two_containers` |
//! | the same without a broker | `logs::without_a_broker` |
//! | a reader that does not read costs the agent nothing | `logs::a_reader_that_is_slow_does_not_grow_the_agent` |
//! | a change that is not ready in time is taken back | `rollout::*` |
//! | a node that is cordoned or drained holds pods, also through a restart, and gives them back | `cordon::*` |
//! | a reboot happens once, after the pods have ended; critical ones end last, also where the machine is switched off | `cordon::a_node_is_rebooted_*`, `cordon::critical_pods_*` |
//! | static pods: with no broker, through what happens to their files; not ended by what is published, nor by a drain | `static_pods::*` |
//! | pods of Kubernetes' own pages | `documentation::*` |

mod cordon;
mod documentation;
mod handlers;
mod hooks;
mod init;
mod logs;
mod probes;
mod restart;
mod resume;
mod rollout;
mod static_pods;
mod termination;
