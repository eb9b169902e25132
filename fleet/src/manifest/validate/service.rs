//! Services: what the wire's own check finds, in the words of the rest.

use mote_protocol::object::{Service, ServiceFault, ServiceProblem};

use super::metadata::labels;
use crate::kubernetes::findings::{FieldError, Findings, Problem};
use crate::kubernetes::path::Path;

pub(super) fn check(service: &Service, root: Path<'_>, findings: &mut Findings) {
    labels(&service.selector, root.field("spec").field("selector"), findings);
    findings.errors.extend(service.faults().into_iter().map(error));
}

fn error(fault: ServiceFault) -> FieldError {
    let problem = match fault.problem {
        ServiceProblem::Required => Problem::Required,
        ServiceProblem::Invalid { value, detail } => Problem::Invalid { value, detail },
        ServiceProblem::Duplicate { value } => Problem::Duplicate { value },
        ServiceProblem::Forbidden { detail } => Problem::Forbidden { detail },
        ServiceProblem::TooMany { len, max } => Problem::TooMany { len, max },
    };
    FieldError { path: fault.path, problem }
}
