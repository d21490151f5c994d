#![allow(clippy::unwrap_used)]
use super::*;
use domain::base::iana::{Class, Rcode, Rtype};
use domain::base::message_builder::AnswerBuilder;
use domain::base::{Message, MessageBuilder, Name, Record};
use domain::rdata::{A, Aaaa, Cname, Srv, Txt};
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

/// What a message is read as, and what is said of it.
fn read(question: &Question, bytes: &[u8]) -> (Option<Reply>, Vec<String>) {
    let mut said = Vec::new();
    let reply = question.read(bytes, Over::Udp, &mut |complaint| said.push(complaint.to_string()));
    (reply, said)
}
/// The one complaint about a message that is no answer.
fn wrong(question: &Question, bytes: &[u8]) -> String {
    let (reply, said) = read(question, bytes);
    assert_eq!((reply, said.len()), (None, 1), "{said:?}");
    said.concat()
}

#[test]
fn questions_are_as_others_write_them() {
    let question = ask("Www.example.com.", Kind::Aaaa);
    let mut builder = MessageBuilder::new_vec();
    builder.header_mut().set_id(7);
    builder.header_mut().set_rd(true);
    let mut builder = builder.question();
    builder.push((&name("www.example.com"), Rtype::AAAA, Class::IN)).unwrap();
    assert_eq!(question.bytes(), builder.finish());
}

#[test]
fn addresses_are_found() {
    let question = ask("Www.Example.com.", Kind::A);
    let bytes = answer(&question, Rcode::NOERROR, |b| {
        b.push((name("www.example.com"), 60, A::from_octets(127, 0, 0, 1))).unwrap();
        b.push((name("other.example.com"), 45, A::from_octets(127, 0, 0, 9))).unwrap();
        b.push((name("WWW.example.com"), 30, A::from_octets(127, 0, 0, 2))).unwrap();
    });
    let addresses =
        vec!["127.0.0.1".parse().unwrap(), "127.0.0.9".parse().unwrap(), "127.0.0.2".parse().unwrap()];
    let found = Found { addresses, ttl: 30, ..Found::default() };
    assert_eq!(read(&question, &bytes), (Some(Reply::Found(found)), vec![]));
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
    assert_eq!(read(&question, &bytes), (Some(Reply::Found(found)), vec![]));
}

#[test]
fn an_alias_alone_is_to_be_asked_for() {
    let question = ask("a.test", Kind::A);
    let bytes = answer(&question, Rcode::NOERROR, |b| {
        b.push((name("a.test"), 60, Cname::new(name("b.test")))).unwrap();
    });
    assert_eq!(read(&question, &bytes), (Some(Reply::Alias { name: "b.test".into(), ttl: 60 }), vec![]));
}

#[test]
fn aliases_in_a_circle_end() {
    let question = ask("a.test", Kind::A);
    let bytes = answer(&question, Rcode::NOERROR, |b| {
        b.push((name("a.test"), 60, Cname::new(name("b.test")))).unwrap();
        b.push((name("b.test"), 60, Cname::new(name("a.test")))).unwrap();
    });
    assert!(matches!(read(&question, &bytes).0, Some(Reply::Alias { .. })));
}

#[test]
fn services_are_found() {
    let question = ask("_http._tcp.a.test", Kind::Srv);
    let bytes = answer(&question, Rcode::NOERROR, |b| {
        b.push((name("_http._tcp.a.test"), 5, Srv::new(1, 2, 8080, name("h.test")))).unwrap();
    });
    let service = Service { host: "h.test".into(), port: 8080, priority: 1, weight: 2 };
    let found = Found { services: vec![service], ttl: 5, ..Found::default() };
    assert_eq!(read(&question, &bytes), (Some(Reply::Found(found)), vec![]));
}

#[test]
fn failures_and_what_is_not_the_answer() {
    let question = ask("a.test", Kind::A);
    for (code, number) in [(Rcode::NXDOMAIN, 3), (Rcode::SERVFAIL, 2), (Rcode::REFUSED, 5)] {
        let bytes = answer(&question, code, |_| {});
        assert_eq!(read(&question, &bytes), (Some(Reply::Failed(number)), vec![]));
    }
    let nothing = answer(&question, Rcode::NOERROR, |_| {});
    assert_eq!(read(&question, &nothing), (Some(Reply::Empty), vec![]));
    let mut truncated = nothing.clone();
    truncated[2] |= 2;
    assert_eq!(read(&question, &truncated), (Some(Reply::Truncated), vec![]));
    let mut said = String::new();
    assert_eq!(question.read(&truncated, Over::Tcp, &mut |c| said = c.to_string()), None);
    assert_eq!(said, "invalid TCP DNS response 7 fl:8300");
    assert_eq!(wrong(&question, &question.bytes()), "invalid UDP DNS response 7 fl:0100");
    for other in [ask("b.test", Kind::A), ask("a.test", Kind::Aaaa)] {
        let expected = format!("unexpected DNS response for {}", other.name);
        assert_eq!(wrong(&question, &answer(&other, Rcode::NOERROR, |_| {})), expected);
    }
    let other = Question { id: 8, ..question.clone() };
    assert_eq!(wrong(&other, &nothing), "wrong ident 7 in DNS response for a.test, expect 8");
}

#[test]
fn heads_and_questions_that_cannot_be() {
    let question = ask("a.test", Kind::A);
    let nothing = answer(&question, Rcode::NOERROR, |_| {});
    let with = |changes: &[(usize, u8)]| {
        let mut bytes = nothing.clone();
        changes.iter().for_each(|(at, byte)| bytes[*at] = *byte);
        wrong(&question, &bytes)
    };
    assert_eq!(with(&[(3, 1)]), "DNS error (1: Format error), query id:7, name:\"a.test\"");
    assert_eq!(with(&[(1, 9), (3, 1)]), "DNS error (1: Format error), query id:9");
    assert_eq!(with(&[(3, 9)]), "DNS error (9: Unknown error), query id:7");
    assert_eq!(with(&[(5, 2)]), "invalid number of questions in DNS response");
    assert_eq!(with(&[(12, 0xc0)]), "unexpected compression pointer in DNS response");
    assert_eq!(with(&[(12, 0)]), "zero-length domain name in DNS response");
    assert_eq!(with(&[(12, 60)]), "short DNS response");
    assert_eq!(with(&[(7, 1)]), "short DNS response");
    assert_eq!(with(&[(21, 2)]), "unknown query type 2 in DNS response");
    assert_eq!(with(&[(23, 3)]), "unknown query class 3 in DNS response");
    assert_eq!(with(&[(21, 12)]), "invalid in-addr.arpa or ip6.arpa name in DNS response");
    assert_eq!(wrong(&question, &nothing[..11]), "short DNS response");
}

#[test]
fn records_that_cannot_be() {
    let question = ask("a.test", Kind::A);
    let owner = name("a.test");
    let wrong_class = answer(&question, Rcode::NOERROR, |b| {
        b.push(Record::new(&owner, Class::CH, domain::base::Ttl::ZERO, A::from_octets(1, 1, 1, 1))).unwrap();
    });
    assert_eq!(wrong(&question, &wrong_class), "unexpected RR class 3 in DNS response");
    let six = answer(&question, Rcode::NOERROR, |b| {
        b.push((&owner, 1, Aaaa::new("::1".parse().unwrap()))).unwrap();
    });
    assert_eq!(wrong(&question, &six), "unexpected AAAA record in DNS response");
    let text = answer(&question, Rcode::NOERROR, |b| {
        b.push((&owner, 1, Txt::<Vec<u8>>::build_from_slice(b"x").unwrap())).unwrap();
    });
    let said = ["unexpected RR type 16 in DNS response", "no A or CNAME types in DNS response"];
    assert_eq!(read(&question, &text), (Some(Reply::Useless), said.map(String::from).to_vec()));
    let mut short = answer(&question, Rcode::NOERROR, |b| {
        b.push((&owner, 1, A::from_octets(1, 1, 1, 1))).unwrap();
    });
    let last = short.len() - 5;
    short[last] = 3;
    assert_eq!(wrong(&question, &short), "invalid A record in DNS response");
    // An alias whose name is a pointer to itself.
    let mut circle = answer(&question, Rcode::NOERROR, |b| {
        b.push((&owner, 1, Cname::new(name("b")))).unwrap();
    });
    let at = circle.len() - 3;
    circle[at..at + 2].copy_from_slice(&(0xc000 | at as u16).to_be_bytes());
    assert_eq!(wrong(&question, &circle), "compression pointers loop in DNS response");
    circle[at] = 0x80;
    assert_eq!(wrong(&question, &circle), "invalid label type in DNS response");
    circle[at] = 0xff;
    assert_eq!(wrong(&question, &circle), "name is out of DNS response");
}

#[test]
fn names_that_cannot_be() {
    let long = "a".repeat(64);
    for bad in ["", ".", "a..b", &long, &"abc.".repeat(70)] {
        assert!(Question::new(1, bad, Kind::A).is_none(), "{bad:?}");
    }
    assert!(Question::new(1, "_http._tcp.xn--a.test.", Kind::Srv).is_some());
}

proptest! {
    #[test]
    fn no_bytes_are_too_strange(bytes in proptest::collection::vec(any::<u8>(), 0..200), cut in 0usize..80) {
        let question = ask("a.test", Kind::Srv);
        let _ = read(&question, &bytes);
        // What begins like an answer gets further.
        let mut like = answer(&question, Rcode::NOERROR, |b| {
            b.push((name("a.test"), 5, Srv::new(1, 2, 8080, name("h.test")))).unwrap();
        });
        like.truncate(cut.max(12));
        like.extend_from_slice(&bytes);
        let _ = read(&question, &like);
    }
}
