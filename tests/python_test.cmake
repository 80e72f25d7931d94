# Tests written in Python: unittest files, run by the machine's python3 or by the one that has the clients installed.
include_guard(GLOBAL)

find_program(RECALLD_PYTHON3 python3 REQUIRED)
# The one that Debian's packages are for.
find_program(RECALLD_DEBIAN_PYTHON3 python3 PATHS /usr/bin NO_DEFAULT_PATH)
# Where scripts/deps --test-clients puts openai and websockets.
execute_process(COMMAND bash -c "source '${CMAKE_SOURCE_DIR}/scripts/lib.sh' && test_venv"
  OUTPUT_VARIABLE venv COMMAND_ERROR_IS_FATAL ANY)
# The file is read once, by whichever folder comes first: what it finds is for all.
set(RECALLD_TEST_VENV ${venv} CACHE INTERNAL "")

# recalld_python_test(NAME FILE TIMEOUT s [LABELS ...] [VENV] [NUMPY]): one file of unittest cases. VENV: it needs the
# clients; NUMPY: it needs numpy. Exit code 77 is "skipped".
function(recalld_python_test name file)
  cmake_parse_arguments(ARG "VENV;NUMPY" "TIMEOUT" "LABELS" ${ARGN})
  recalld_timeout(ARG_TIMEOUT)
  set(interpreter ${RECALLD_PYTHON3})
  if(ARG_VENV)
    set(interpreter ${RECALLD_TEST_VENV}/bin/python)
  endif()
  if(ARG_NUMPY AND RECALLD_DEBIAN_PYTHON3)
    set(interpreter ${RECALLD_DEBIAN_PYTHON3})
  endif()
  set(environment "RECALLD_SOURCE_DIR=${CMAKE_SOURCE_DIR}" "RECALLD_BUILD_DIR=${CMAKE_BINARY_DIR}"
    "RECALLD_TEST_MODEL=${RECALLD_DEFAULT_MODEL}" "RECALLD_TEST_ENCODER=${RECALLD_ENCODER}" "PYTHONPATH=${CMAKE_SOURCE_DIR}/scripts"
    PYTHONDONTWRITEBYTECODE=1 "RECALLD_TEST_SANITIZED=${RECALLD_SANITIZE}")
  add_test(NAME ${name} COMMAND ${interpreter} -W error::ResourceWarning ${CMAKE_CURRENT_SOURCE_DIR}/${file})
  set_tests_properties(${name} PROPERTIES TIMEOUT ${ARG_TIMEOUT} LABELS "${ARG_LABELS}" SKIP_RETURN_CODE 77
    ENVIRONMENT "${environment}")
endfunction()
