/* base/redis_tls.c -- decides whom a TLS connection trusts. There is no way to switch verification
 * off: a certificate of one's own goes into ?ca=FILE. */
#include "base/redis_tls.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include <event2/bufferevent.h>
#include <event2/bufferevent_ssl.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

/* The first error of the queue is the cause; the others were added on the way up. */
static const char *reason_of(unsigned long error)
{
        if (error == 0)
                return NULL;
        return ERR_SYSTEM_ERROR(error) ? strerror(ERR_GET_REASON(error))
                                       : ERR_reason_error_string(error);
}

static const char *fail(const char *what, const char *detail)
{
        static _Thread_local char why[512];
        const char *reason = reason_of(ERR_peek_error());

        snprintf(why, sizeof(why), "TLS: %s%s%s%s", what, detail, reason != NULL ? ": " : "",
                 reason != NULL ? reason : "");
        ERR_clear_error();
        return why;
}

/* Instead of OpenSSL's question on the terminal, which would stop the loop. */
static int no_passphrase(char *text, int size, int for_writing, void *was_asked)
{
        (void)text;
        (void)size;
        (void)for_writing;
        if (was_asked != NULL)
                *(bool *)was_asked = true;
        return 0;
}

static const char *load_key(SSL_CTX *context, const struct redis_address *address)
{
        bool apart = address->key_file[0] != '\0', was_asked = false;
        const char *key = apart ? address->key_file : address->cert_file;
        bool good;

        SSL_CTX_set_default_passwd_cb_userdata(context, &was_asked);
        good = SSL_CTX_use_PrivateKey_file(context, key, SSL_FILETYPE_PEM) == 1;
        SSL_CTX_set_default_passwd_cb_userdata(context, NULL);
        if (good)
                return NULL;
        if (!was_asked && apart)
                return fail("cannot use key=", key);
        ERR_clear_error();
        if (was_asked)
                return fail(key, " needs a passphrase: give a private key without one");
        return fail(key, " has no private key in it: give &key=FILE");
}

static const char *load_files(SSL_CTX *context, const struct redis_address *address)
{
        const char *cert = address->cert_file;

        if (address->ca_file[0] == '\0') {
                if (SSL_CTX_set_default_verify_paths(context) != 1)
                        return fail("cannot use the system's certificate authorities", "");
        } else if (SSL_CTX_load_verify_locations(context, address->ca_file, NULL) != 1) {
                return fail("cannot read ca=", address->ca_file);
        }
        if (cert[0] == '\0')
                return NULL;
        if (SSL_CTX_use_certificate_chain_file(context, cert) != 1)
                return fail("cannot read cert=", cert);
        return load_key(context, address);
}

static bool is_address(const char *host)
{
        struct in6_addr address;

        return inet_pton(AF_INET, host, &address) == 1 || inet_pton(AF_INET6, host, &address) == 1;
}

/* RFC 6066, section 3: no literal address in the server name indication. */
static bool expect(SSL *ssl, const char *host)
{
        if (is_address(host))
                return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), host) == 1;
        SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
        return SSL_set1_host(ssl, host) == 1 && SSL_set_tlsext_host_name(ssl, host) == 1;
}

struct bufferevent *redis_tls_bufferevent(struct event_base *base, int fd,
                                          const struct redis_address *address, const char *host,
                                          const char **ret_why)
{
        struct bufferevent *bytes = NULL;
        SSL_CTX *context;
        SSL *ssl = NULL;
        const char *why;

        ERR_clear_error();
        context = SSL_CTX_new(TLS_client_method());
        if (context == NULL) {
                *ret_why = fail("out of memory", "");
                return NULL;
        }
        SSL_CTX_set_default_passwd_cb(context, no_passphrase);
        SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
        why = SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION) == 1
                  ? load_files(context, address)
                  : fail("no version 1.2", "");
        if (why == NULL) {
                ssl = SSL_new(context);
                if (ssl == NULL || !expect(ssl, host))
                        why = fail("cannot verify a host called ", host);
        }
        SSL_CTX_free(context); /* the session has its own reference */
        if (why == NULL) {
                bytes = bufferevent_openssl_socket_new(base, fd, ssl, BUFFEREVENT_SSL_CONNECTING,
                                                       BEV_OPT_CLOSE_ON_FREE);
                if (bytes == NULL)
                        why = fail("out of memory", "");
        }
        if (bytes == NULL) {
                SSL_free(ssl);
                *ret_why = why;
                return NULL;
        }
        /* A server that dies says no goodbye; what it had said was whole replies or not. */
        bufferevent_openssl_set_allow_dirty_shutdown(bytes, 1);
        return bytes;
}

bool redis_tls_explain(struct bufferevent *bytes, const char *host, char *text, size_t size)
{
        long verdict = SSL_get_verify_result(bufferevent_openssl_get_ssl(bytes));
        unsigned long error = bufferevent_get_openssl_error(bytes);
        const char *reason = reason_of(error);

        ERR_clear_error();
        if (verdict == X509_V_ERR_HOSTNAME_MISMATCH || verdict == X509_V_ERR_IP_ADDRESS_MISMATCH)
                snprintf(text, size, "the server's certificate is not for %s", host);
        else if (verdict != X509_V_OK)
                snprintf(text, size, "the server's certificate is not trusted: %s",
                         X509_verify_cert_error_string(verdict));
        else if (reason != NULL && ERR_GET_REASON(error) != SSL_R_UNEXPECTED_EOF_WHILE_READING)
                snprintf(text, size, "%s", reason);
        else
                return false;
        return true;
}
