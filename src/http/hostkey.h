#ifndef SALES_HTTP_HOSTKEY_H
#define SALES_HTTP_HOSTKEY_H

#include "http/http.h"

/*
 * Has an SFTP call go on only with a server whose key is among those `given`:
 * fingerprints ("SHA256:...", as ssh-keygen -l shows them) or public keys
 * ("ssh-ed25519 AAAA...", as ssh-keyscan prints them), with blanks, commas or
 * line ends between.  What is wrong (static), or null.
 */
extern const char *http_pin_host_key(HttpCall *call, const char *given);

#endif							/* SALES_HTTP_HOSTKEY_H */
