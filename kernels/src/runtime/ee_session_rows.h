/* ee_session_rows.h: sessions for who keeps rows of the stem, to hear them in several windows. */
#ifndef EE_SESSION_ROWS_H
#define EE_SESSION_ROWS_H

#include "ee.h"

/* Rows (count, dim) of features that make so many, no more than the capacity of the session does.
 * They have no places in an utterance yet. The session lends its scratch, and an output of it is not
 * valid any more. */
void ee_session_stem(ee_session *session, float *rows, const float *features, size_t count);

/* ee_session_feed with rows of the stem in place of features: none that are not finite, and no
 * features before. Errors are EE_ERR_ENDED and EE_ERR_TOO_MANY_FRAMES. */
ee_status ee_session_feed_rows(ee_session *session, const float *rows, size_t count, int last);

#endif
