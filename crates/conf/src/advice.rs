//! What to use in the place of modules that are not here: a sentence for those who bring a configuration that has them.

/// By the beginning of a directive's name, or by nginx's name of its module.
const ADVICE: &[(&str, &str)] = &[
    ("lua_", LUA),
    ("init_by_lua", LUA),
    ("image_filter", "scale images in an application or a service behind \"proxy_pass\""),
    ("ngx_http_image_filter_module", "scale images in an application or a service behind \"proxy_pass\""),
    ("ngx_http_xslt_module", "transform XML in the application behind \"proxy_pass\""),
    ("ngx_http_perl_module", "use \"map\", \"if\" and \"rewrite\", or an application behind \"proxy_pass\""),
    ("ngx_http_js_module", SCRIPT),
    ("ngx_stream_js_module", SCRIPT),
    ("ngx_http_geoip_module", GEO),
    ("ngx_stream_geoip_module", GEO),
    ("ngx_google_perftools_module", "use perf on the running process"),
    ("geoip2", GEO),
    ("vhost_traffic_status", "use \"stub_status\" or \"capacity_status\" and the access log"),
    ("check_status", "use \"stub_status\" or \"capacity_status\""),
    ("req_status", "use \"stub_status\" or \"capacity_status\""),
    ("check", "upstream servers are judged by their answers: see \"max_fails\" and \"fail_timeout\""),
    ("pagespeed", "optimise pages when they are built; gzip and caching are here"),
    ("modsecurity", "put the web application firewall in front of this server, or behind \"proxy_pass\""),
    ("naxsi", "put the web application firewall in front of this server, or behind \"proxy_pass\""),
    ("SecRules", "put the web application firewall in front of this server, or behind \"proxy_pass\""),
    ("passenger", "run the application's own server and use \"proxy_pass\""),
    ("rtmp", "live video needs a server of its own"),
    ("nchan", "use an application behind \"proxy_pass\" with websockets"),
    ("push_stream", "use an application behind \"proxy_pass\" with websockets"),
    (
        "upload_",
        "let the application take the upload: see \"client_body_buffer_size\" and \"proxy_request_buffering\"",
    ),
    ("auth_ldap", "use \"auth_request\" with a service that asks the directory"),
    ("auth_pam", "use \"auth_request\" with a service that asks PAM"),
    ("auth_spnego", "use \"auth_request\" with a service that speaks Kerberos"),
    ("auth_gss", "use \"auth_request\" with a service that speaks Kerberos"),
    ("fancyindex", "use \"autoindex\""),
    ("echo", "use \"return\""),
    ("set_real_ip_header", "use \"real_ip_header\""),
    ("substitutions", "use \"sub_filter\""),
    ("subs_filter", "use \"sub_filter\""),
    ("replace_filter", "use \"sub_filter\""),
    ("footer", "use \"sub_filter\" or \"add_after_body\""),
    ("concat", "join files when they are built"),
    ("cache_purge", "use \"proxy_cache_bypass\""),
    ("proxy_cache_purge", "use \"proxy_cache_bypass\""),
    ("redis", "use an application behind \"proxy_pass\""),
    ("drizzle", "use an application behind \"proxy_pass\""),
    ("postgres", "use an application behind \"proxy_pass\""),
    ("opentracing", "pass \"traceparent\" on with \"proxy_set_header\""),
    ("opentelemetry", "pass \"traceparent\" on with \"proxy_set_header\""),
    ("ngx_otel_module", "pass \"traceparent\" on with \"proxy_set_header\""),
];

const LUA: &str =
    "Lua is not here: use \"map\", \"if\", \"auth_request\", or an application behind \"proxy_pass\"";
const SCRIPT: &str =
    "scripts are not here: use \"map\", \"if\", \"auth_request\", or an application behind \"proxy_pass\"";
const GEO: &str = "use \"geo\" or \"map\" with a list of addresses made from the data base";

/// What to use instead of a directive, or of the module it belongs to.
pub(crate) fn advice(name: &str) -> Option<&'static str> {
    if name.ends_with("_by_lua") || name.ends_with("_by_lua_block") || name.ends_with("_by_lua_file") {
        return Some(LUA);
    }
    ADVICE.iter().find(|(start, _)| name.starts_with(start)).map(|(_, text)| *text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directives_and_modules() {
        for name in ["content_by_lua_block", "lua_shared_dict", "init_by_lua_file"] {
            assert_eq!(advice(name), Some(LUA), "{name}");
        }
        assert_eq!(advice("ngx_http_geoip_module"), Some(GEO));
        assert_eq!((advice("proxy_pass"), advice("ngx_http_v2_module")), (None, None));
    }
}
