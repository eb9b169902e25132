//! Real faults on real parts: agents that are killed again and again, cards that are full or became
//! read-only, directories that somebody wiped. Whatever happens,
//! what runs goes on, the node ends in the state that was asked for, and nothing is left behind.
//!
//! | what must hold | test |
//! |---|---|
//! | the agent killed a hundred times, and now and then what holds a pod, while twenty pods come, change, crash and go | `churn::*` |
//! | a card without room for others: pods go on, and what is said is kept | `storage::a_full_card_stops_no_pod_and_what_is_said_is_kept` |
//! | a card that becomes read-only and writable again | `storage::a_card_that_becomes_read_only_stops_no_pod` |
//! | the run directory wiped beneath agent and pods | `directories::*` |
//! | a broker that expired, that others signed, that denies everything | `brokers::*` |
//! | ten pods after a boot without a network, and how long that takes | `boot::ten_pods_run_soon_after_a_boot_without_a_network` |
//! | memory that pods use up, and a card that one fills: the right pod is evicted, and no other is harmed | `shortage::*` |
//! | a fork bomb with a limit touches nobody, one without is evicted | `shortage::a_fork_bomb_*` |
//! | a critical pod takes the place of the one that is needed least | `shortage::a_critical_pod_*` |
//! | a second agent on the same directories | `directories::a_second_agent_is_refused_and_harms_nothing` |

mod boot;
mod brokers;
mod churn;
mod directories;
mod pods;
mod shortage;
mod storage;
mod traces;
