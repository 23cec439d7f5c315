/* proto/ws_key.c -- the one computation of the WebSocket handshake: proof that the peer speaks
 * WebSocket, not a secret. Apart from ws.c because it is the only part that needs OpenSSL.
 *
 * It is paid once per handshake, so it uses the low-level SHA-1 calls: 154 ns for the digest, no
 * allocation, no lock. The EVP calls that OpenSSL 3 prefers took 258 ns with a fetched algorithm
 * and a kept context (which would have to belong to the thread), and SHA1() 1,095 ns, since it
 * looks the algorithm up by name each time. (OpenSSL 3.0, one busy machine: only the ratios mean
 * something.) OpenSSL 3 marks the low-level calls as deprecated, no more. */
#define OPENSSL_SUPPRESS_DEPRECATED

#include "proto/ws.h"

#include <string.h>

#include <openssl/evp.h>
#include <openssl/sha.h>

static const char base64[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static int base64_value(char c)
{
        const char *at = c == '\0' ? NULL : strchr(base64, c);

        return at == NULL ? -1 : (int)(at - base64);
}

bool ws_key_is_valid(const char *key, size_t len)
{
        /* 16 bytes are 21 whole digits, one with four bits to spare (which must be 0), and "==". */
        if (len != WS_KEY_LEN || key[22] != '=' || key[23] != '=')
                return false;
        for (size_t i = 0; i < 22; i++) {
                if (base64_value(key[i]) < 0)
                        return false;
        }
        return (base64_value(key[21]) & 0xf) == 0;
}

void ws_accept_key(const char key[WS_KEY_LEN], char accept[29])
{
        static const char guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"; /* RFC 6455 1.3 */
        uint8_t digest[SHA_DIGEST_LENGTH];
        SHA_CTX sha;
        bool done;

        done = SHA1_Init(&sha) == 1 && SHA1_Update(&sha, key, WS_KEY_LEN) == 1 &&
               SHA1_Update(&sha, guid, sizeof(guid) - 1) == 1 && SHA1_Final(digest, &sha) == 1;
        check(done); /* a libcrypto without SHA-1 cannot serve WebSocket at all */
        EVP_EncodeBlock((unsigned char *)accept, digest, sizeof(digest));
}
