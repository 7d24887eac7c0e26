/* check_teams.h: teams that do their items in another order and in blocks of other sizes, with the
 * scratch of other workers, all in the calling thread. Results are the same bytes for each. */
#ifndef CHECK_TEAMS_H
#define CHECK_TEAMS_H

#include "ee_kernels.h"

static void run_backwards(const ee_team *team, ee_task task, void *context, size_t items)
{
    for (size_t item = items; item-- > 0;) {
        task(context, item, (items - 1 - item) % team->workers);
    }
}

/* The last worker does everything: it has the end of all scratch. */
static void run_on_last(const ee_team *team, ee_task task, void *context, size_t items)
{
    for (size_t item = 0; item < items; item++) {
        task(context, item, team->workers - 1);
    }
}

static const ee_team BACKWARDS = {1, EE_BLOCK_FRAMES, run_backwards};
static const ee_team SINGLE_FRAMES = {2, 1, run_backwards};
static const ee_team SEVENS = {3, 7, run_backwards};
static const ee_team ON_LAST = {5, 256, run_on_last};
static const ee_team *const TEAMS[] = {NULL, &BACKWARDS, &SINGLE_FRAMES, &SEVENS, &ON_LAST};
enum { TEAM_COUNT = sizeof(TEAMS) / sizeof(TEAMS[0]) };

#endif
