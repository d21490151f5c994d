//! The files of every case.

use testkit::Site;

use super::peers::GZIPPED;

/// The configuration with its files.
pub fn site(text: &str) -> Site {
    let plain = Site::new(text)
        .file("users", "a:{PLAIN}b\n")
        .file("users2", USERS)
        .file("html/index.html", "<p>one text, text one</p>\n")
        .file("html/a/x.html", "<p>one x text</p>\n")
        .file("html/a/index.html", "<p>index of a</p>\n")
        .file("html/a/deep/x.html", "deep x\n")
        .file("html/deep/a/x.html", "deep root x\n")
        .file("html/deep/x.html", "alias x\n")
        .file("html/dir/x.txt", "dir x one\n")
        .file("html/found.txt", "found: one text\n")
        .file("html/50x.html", "five hundred\n")
        .file("html/empty.txt", "")
        .file("html/pic.png", "png")
        .file("html/a b/index.html", "a b\n")
        .file("html/big.txt", "one line of text\n".repeat(3000));
    let odd = plain
        .file("html/one/only.txt", "only one\n")
        .file("html/odd/a&b.txt", "amp")
        .file("html/odd/q\"uote'.txt", "quote")
        .file("html/odd/<tag>.txt", "tag")
        .file("html/odd/%25.txt", "percent")
        .file("html/odd/\u{e9}\u{44e}.txt", "letters")
        .file("html/odd/a:b?c#d.txt", "signs")
        .file("html/odd/a-name-so-long-that-no-column-of-a-listing-can-hold-it-whole.txt", "long")
        .file("html/odd/.hidden", "hidden")
        .file("html/odd/folder/x", "x")
        .file("html/dav/file.txt", "a file\n")
        .file("html/dav/sub/x.txt", "in sub\n")
        .file("html/dav/sub/more/y.txt", "deeper\n");
    films(pages(odd))
}

const USERS: &str = "# people\na:{PLAIN}b\nmd5:$apr1$abcdefgh$k74HMkv1qiXQsM2Wp4E/n1:a comment\n\
    sha:{SHA}6dcfXufJLW3J6S/9rRe4vUlBj5g=\nno:!\nempty:\nlast:{PLAIN}x";

fn films(site: Site) -> Site {
    site.file("html/films/a.flv", b"FLV\x01\x05\0\0\0\x09\0\0\0\0and what follows")
        .file("html/films/bad.mp4", b"\0\0\0\x08moov\0\0\0\x02rest")
        .file("html/films/a.mp4", b"\0\0\0\x10ftypisom\0\0\0\0\0\0\0\x08moov\0\0\0\x0cmdatdata")
        .file("html/films/empty.mp4", "")
}

fn pages(site: Site) -> Site {
    site.file("html/ssi/all.html", "<!--#set var=\"x\" value=\"one\" --><!--#echo var=\"x\" -->|<!--#echo var=\"none\" -->|\
            <!--#echo var=\"none\" default=\"d\" -->|<!--#echo var=\"arg_v\" encoding=\"url\" -->|<!--# echo var='uri' encoding='none'-->\n\
            <!--#config errmsg=\"oops\" timefmt=\"%Y\" --><!--#block name=\"b\" -->stub<!--#endblock --><!--#include virtual=\"/none\" stub=\"b\" -->\n")
        .file("html/ssi/plain.html", "nothing one text here <!-- a comment --> <p>\n")
        .file("html/ssi/include.html", "a<!--#include virtual=\"/found.txt\" -->b<!--#include file=\"plain.html\" -->c\
            <!--#include virtual=\"/b/o/ok?x=1\" -->d<!--#include virtual=\"/a/none\" -->e<!--#include virtual=\"/b/o/ok\" wait=\"yes\" -->f\n")
        .file("html/ssi/nested.html", "n<!--#include virtual=\"all.html\" -->|<!--#include virtual=\"/ssi/include.html\" -->|\
            <!--#include virtual=\"/b/o/echo\" set=\"got\" --><!--#echo var=\"got\" -->\n")
        .file("html/ssi/if.html", "<!--#if expr=\"$arg_a\" -->yes<!--#if expr=\"$arg_a = 1\" -->one<!--#elif expr=\"$arg_a = /y(z)/\" -->\
            re<!--#echo var=\"1\" --><!--#else -->other<!--#endif --><!--#else -->no<!--#endif -->.\
            <!--#if expr=\"$arg_a != 1\" -->not one<!--#endif -->\n")
        .file("html/ssi/bad.html", "1<!--#unknown x=\"y\" -->2<!--#echo -->3<!--#include virtual -->4<!--#set var=\"a\" -->5\
            <!--#else -->6<!--#if -->7<!--#endif -->8<!--#echo var=\"uri\" wrong=\"1\" -->9<!--#include file=\"../../x\" -->\n")
        .file("html/ssi/cut.html", "before<!--#echo var=\"uri")
        .file("html/ssi/loop.html", "again one\n")
        .file("html/ssi/error.html", "error of <!--#echo var=\"request_uri\" --> one\n")
        .file("html/ssi/vars.html", "<!--#echo var=\"args\" --><!--#echo var=\"host\" --><!--#set var=\"y\" value=\"$uri-${arg_v}\" --><!--#echo var=\"y\" -->\n")
        .file("html/ssi/koi.txt", b"\xc0\xc1\xc2\xc3 one \xe0\n")
        .file("html/ssi/koi.html", b"\xc0\xc1 one \xd1\x8e \xd0\xb0 \xd0\n")
        .file("html/gz/packed.txt.gz", GZIPPED)
        .file("html/gz/both.txt", "both one text, plain\n")
        .file("html/gz/both.txt.gz", GZIPPED)
        .file("html/gz/broken.txt.gz", "no gzip at all")
        .file("html/found.txt.gz", GZIPPED)
}
