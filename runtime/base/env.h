// Environment variables of the program. An unknown VJ_* name is an error: it is a typing error, or meant for another
// version, and silence would hide it.
#ifndef VJ_RUNTIME_BASE_ENV_H
#define VJ_RUNTIME_BASE_ENV_H

#include "runtime/base/status.h"

// VJ_ERR_USAGE names an unknown VJ_* variable and the nearest known one. VJ_TEST_* belong to the tests and pass.
vj_status vj_env_check(void) VJ_MUST_CHECK;
// Variable `index` of those that serve people, for documentation; NULL behind the last.
const char *vj_env_variable(int index, const char **values, const char **meaning);

#endif
