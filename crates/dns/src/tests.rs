#![allow(clippy::unwrap_used)]
use super::*;
use domain::base::message_builder::AnswerBuilder;
use proptest::prelude::*;

type Builder = AnswerBuilder<Vec<u8>>;

/// An answer to a question, with records of the test's choice.
fn answer(question: &Question, code: Rcode, records: impl FnOnce(&mut Builder)) -> Vec<u8> {
    let bytes = question.bytes();
    let asked = Message::from_octets(&bytes[..]).unwrap();
    let mut builder = MessageBuilder::new_vec().start_answer(&asked, code).unwrap();
    records(&mut builder);
    builder.finish()
}
fn name(text: &str) -> Name<Vec<u8>> {
    text.parse().unwrap()
}
fn ask(text: &str, kind: Kind) -> Question {
    Question::new(7, text, kind).unwrap()
}

#[test]
fn addresses_are_found() {
    let question = ask("Www.Example.com.", Kind::A);
    let bytes = answer(&question, Rcode::NOERROR, |b| {
        b.push((name("www.example.com"), 60, A::from_octets(127, 0, 0, 1))).unwrap();
        b.push((name("other.example.com"), 1, A::from_octets(127, 0, 0, 9))).unwrap();
        b.push((name("WWW.example.com"), 30, A::from_octets(127, 0, 0, 2))).unwrap();
    });
    let addresses = vec!["127.0.0.1".parse().unwrap(), "127.0.0.2".parse().unwrap()];
    let found = Found { addresses, ttl: 30, ..Found::default() };
    assert_eq!(question.read(&bytes), Some(Reply::Found(found)));
}

#[test]
fn aliases_are_followed_in_any_order() {
    let question = ask("a.test", Kind::Aaaa);
    let bytes = answer(&question, Rcode::NOERROR, |b| {
        b.push((name("c.test"), 50, Aaaa::new("::1".parse().unwrap()))).unwrap();
        b.push((name("b.test"), 40, Cname::new(name("c.test")))).unwrap();
        b.push((name("a.test"), 60, Cname::new(name("b.test")))).unwrap();
    });
    let found = Found { addresses: vec!["::1".parse().unwrap()], ttl: 40, ..Found::default() };
    assert_eq!(question.read(&bytes), Some(Reply::Found(found)));
}

#[test]
fn an_alias_alone_is_to_be_asked_for() {
    let question = ask("a.test", Kind::A);
    let bytes = answer(&question, Rcode::NOERROR, |b| {
        b.push((name("a.test"), 60, Cname::new(name("b.test")))).unwrap();
    });
    assert_eq!(question.read(&bytes), Some(Reply::Alias { name: "b.test".into(), ttl: 60 }));
}

#[test]
fn aliases_in_a_circle_end() {
    let question = ask("a.test", Kind::A);
    let bytes = answer(&question, Rcode::NOERROR, |b| {
        b.push((name("a.test"), 60, Cname::new(name("b.test")))).unwrap();
        b.push((name("b.test"), 60, Cname::new(name("a.test")))).unwrap();
    });
    assert!(matches!(question.read(&bytes), Some(Reply::Alias { .. })));
}

#[test]
fn services_are_found() {
    let question = ask("_http._tcp.a.test", Kind::Srv);
    let bytes = answer(&question, Rcode::NOERROR, |b| {
        b.push((name("_http._tcp.a.test"), 5, Srv::new(1, 2, 8080, name("h.test")))).unwrap();
    });
    let service = Service { host: "h.test".into(), port: 8080, priority: 1, weight: 2 };
    let found = Found { services: vec![service], ttl: 5, ..Found::default() };
    assert_eq!(question.read(&bytes), Some(Reply::Found(found)));
}

#[test]
fn failures_and_what_is_not_the_answer() {
    let question = ask("a.test", Kind::A);
    for (code, number) in [(Rcode::NXDOMAIN, 3), (Rcode::SERVFAIL, 2), (Rcode::REFUSED, 5)] {
        let bytes = answer(&question, code, |_| {});
        assert_eq!(question.read(&bytes), Some(Reply::Failed(number)));
    }
    let nothing = answer(&question, Rcode::NOERROR, |_| {});
    assert_eq!(question.read(&nothing), Some(Reply::Failed(NO_SUCH_NAME)));
    let mut truncated = nothing.clone();
    truncated[2] |= 2;
    assert_eq!(question.read(&truncated), Some(Reply::Truncated));

    assert_eq!(question.read(&question.bytes()), None, "a question is no answer");
    for other in [ask("b.test", Kind::A), ask("a.test", Kind::Aaaa)] {
        assert_eq!(question.read(&answer(&other, Rcode::NOERROR, |_| {})), None);
    }
    let other_id = Question { id: 8, ..question.clone() };
    assert_eq!(other_id.read(&nothing), None);
}

#[test]
fn names_that_cannot_be() {
    let long = "a".repeat(64);
    for bad in ["", ".", "a..b", "a b", &long, &"abc.".repeat(70)] {
        assert!(Question::new(1, bad, Kind::A).is_none(), "{bad:?}");
    }
    assert!(Question::new(1, "_http._tcp.xn--a.test.", Kind::Srv).is_some());
}

proptest! {
    #[test]
    fn no_bytes_are_too_strange(bytes in proptest::collection::vec(any::<u8>(), 0..200), cut in 0usize..80) {
        let question = ask("a.test", Kind::Srv);
        let _ = question.read(&bytes);
        // What begins like an answer gets further.
        let mut like = answer(&question, Rcode::NOERROR, |b| {
            b.push((name("a.test"), 5, Srv::new(1, 2, 8080, name("h.test")))).unwrap();
        });
        like.truncate(cut.max(12));
        like.extend_from_slice(&bytes);
        let _ = question.read(&like);
    }
}
