// The configuration as the options of the parts, and the checks that need more than the configuration itself.
#pragma once

#include "api/server.h"
#include "base/status.h"
#include "daemon/config.h"
#include "daemon/logging.h"
#include "daemon/open_service.h"

namespace recalld::app {

daemon::ServiceOptions service_options(const daemon::Config& config);
api::ServerOptions server_options(const daemon::Config& config);
daemon::LogOptions log_options(const daemon::Config& config, const std::map<std::string, std::string>& environment);

// Reads the keys file, if one is set, and checks what depends on it; that the model file can be read; the codec's name.
// kInvalidArgument names the setting.
Status check_config(const daemon::Config& config, api::KeyRing* keys);

}  // namespace recalld::app
