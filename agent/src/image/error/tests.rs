use super::*;

#[test]
fn message_names_error_and_cause_once() {
    let error = ImageError::Unreachable {
        host: "r.example".into(),
        cause: Cause::from_text("connection refused"),
    };
    assert_eq!(error.message(), "reach registry r.example: connection refused");
    assert_eq!((error.reason(), error.retry()), ("ErrImagePull", Retry::Soon));
}

#[test]
fn errors_survive_the_pipe() {
    let error = ImageError::Registry {
        host: "r.example".into(),
        status: 503,
        cause: Cause::from_text("maintenance"),
    };
    let text = serde_json::to_string(&error).unwrap();
    assert_eq!(serde_json::from_str::<ImageError>(&text).unwrap(), error);
    assert!(error.is_unreachable());
}

#[test]
fn what_must_not_be_told_is_taken_out_of_every_text() {
    let error = ImageError::Platform {
        reference: "r.example/a:1".into(),
        wanted: "linux/arm64".into(),
        offered: "linux/hunter2".into(),
    };
    let hidden = error.without(|text| text.replace("hunter2", "[hidden]"));
    assert!(hidden.message().ends_with("there is linux/[hidden]"), "{}", hidden.message());
    assert!(matches!(hidden, ImageError::Platform { .. }));
    assert_eq!(ImageError::Busy.without(|_| "Busy".into()), ImageError::Busy);
    let odd = ImageError::Busy.without(|_| "x".into());
    assert!(matches!(odd, ImageError::Process { .. }));
}

#[test]
fn an_interrupted_pull_is_told_like_another_and_survives_the_pipe() {
    let host = "r.example".to_owned();
    let error = ImageError::Unreachable { host, cause: Cause::from_text("cable") };
    let interrupted = error.clone().after_progress().after_progress();
    assert_eq!(interrupted, ImageError::Interrupted(Box::new(error.clone())));
    assert_eq!(interrupted.message(), error.message());
    assert_eq!(interrupted.retry(), error.retry());
    assert!(interrupted.is_unreachable() && interrupted.is_silent());
    let text = serde_json::to_string(&interrupted).unwrap();
    assert_eq!(serde_json::from_str::<ImageError>(&text).unwrap(), interrupted);
    let hidden = interrupted.without(|text| text.replace("cable", "wire"));
    assert!(hidden.made_progress() && hidden.message().ends_with("wire"));
    // What came is no use where something else is wrong.
    let full = ImageError::DiskFull { path: "/".into(), needed: 0 };
    assert!(!full.after_progress().made_progress());
}
