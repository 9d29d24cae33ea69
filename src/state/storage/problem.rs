//! What is wrong with an object store, in words, and what to do.

use object_store::Error;

/// Whether it is said that there is no such object: a web server that has nothing there says something else.
pub fn is_no_object(error: &Error) -> bool {
    matches!(error, Error::NotFound { .. }) && told(error).contains("NoSuchKey")
}

/// Whether the same request may find the store in another mood.
pub fn may_pass(error: &Error) -> bool {
    matches!(error, Error::Generic { .. }) && !told(error).contains("ETag")
}

/// An error, and what to do.
pub fn words(error: &Error) -> String {
    let told = told(error);
    let says = |words: &str| told.contains(words);
    let advice = match error {
        Error::Unauthenticated { .. } | Error::PermissionDenied { .. } => {
            "whoever AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (or the role of this machine) stand for must be known there, and may get, put, list and delete its objects"
        }
        Error::NotFound { .. } if says("NoSuchBucket") => "there is no such bucket; make it first",
        Error::NotFound { .. } if !says("NoSuchKey") => "what answers there is no object store: is AWS_ENDPOINT_URL right?",
        Error::NotImplemented { .. } | Error::NotSupported { .. } => "the store cannot do what is needed",
        _ if says("ETag") => {
            "the store gives its objects no ETag, by which puts on a condition go: keep the state in another store, or in a folder"
        }
        _ if says("169.254.") => "no key was named, and this machine has no role: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
        _ if says("InvalidContentType") => "what answers there does not speak TLS: say http:// in AWS_ENDPOINT_URL",
        _ if says("invalid HTTP version") => "what answers there speaks something else, TLS perhaps: say https:// in AWS_ENDPOINT_URL",
        _ if says("certificate") => {
            "nobody vouches for the store's certificate; SSL_CERT_FILE names a PEM file of those who are to be believed"
        }
        Error::Generic { .. } => "does the store answer, and are AWS_ENDPOINT_URL and AWS_REGION right?",
        _ => return told,
    };
    format!("{advice} ({told})")
}

/// An error down to its cause, in one line: of an answer in XML the code and the message.
fn told(error: &Error) -> String {
    let mut told = error.to_string();
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    let cause = cause.to_string();
    if !told.contains(&cause) {
        told += &format!(": {cause}");
    }
    let within = |name: &str| Some(told.split_once(&format!("<{name}>"))?.1.split_once('<')?.0.to_owned());
    let markup = [told.find("<?xml"), told.find("<Error>"), told.find("<!"), told.find("<html")].into_iter().flatten().min();
    if let Some(markup) = markup {
        let code = within("Code").map(|code| format!("{code}: {}", within("Message").unwrap_or_default()));
        told = format!("{}{}", &told[..markup], code.unwrap_or_else(|| "a page".to_owned()));
    }
    told.split_whitespace().collect::<Vec<_>>().join(" ")
}
